"""What runs between a block's products, each in one pass over memory: Triton's on a GPU, PyTorch's on a CPU."""
