"""The code that both backends of Wan share: weights, VAE, and generation."""
