"""The kernels and constants of a pass, which the blocks' tensors do not tell."""

from __future__ import annotations

from typing import NamedTuple


class KernelConfig(NamedTuple):
    """Constants for all blocks of a pass; a compiler specialises on them."""

    heads: int
    epsilon: float
    attention: str  # the name of its backend
    fused_gelu: bool = False
    rope_kernel: bool = False
    norm_kernel: bool = False
