"""What both backends of Wan share: reading its weights, its VAE, and generating a video."""
