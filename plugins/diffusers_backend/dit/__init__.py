"""Our faster forward pass of Wan's DiT: the same results as diffusers to rounding.

Where the architecture is unknown to this code, diffusers' own forward pass runs.
"""
