"""Wan's DiT by code of ours over the weights that diffusers loaded: the same results to rounding, sooner.

Where the architecture is unknown to this code, diffusers' own forward pass runs.
"""
