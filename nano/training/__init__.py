"""The training of Wan Nano, in stages: text encoder, VAE, transformers."""
