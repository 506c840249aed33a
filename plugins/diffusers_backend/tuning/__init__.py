"""When our forward pass of the DiT runs, and by which kernels."""
