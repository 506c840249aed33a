"""Kernels for the operations between a block's products, each in one pass over memory."""
