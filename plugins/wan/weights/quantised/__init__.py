"""Weights in codes of 4 to 8 bits: their arithmetic, and the layers that hold them."""
