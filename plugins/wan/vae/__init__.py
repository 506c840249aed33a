"""Wan's VAE over the weights that diffusers loaded: the same results to rounding, sooner."""
