"""Wan's networks run by code of ours over the weights that diffusers loaded: the same results to rounding, sooner.

Each part has a switch in a model's `options`. Where the architecture is another than the one that this code
knows, diffusers' own forward passes run.
"""
