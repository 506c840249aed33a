"""Weights in codes of 4 to 8 bits: arithmetic and layers."""
