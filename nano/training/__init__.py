"""How Wan Nano is trained: a stage each for the VAE, the text encoder and the transformers."""
