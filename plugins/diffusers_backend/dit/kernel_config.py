"""What a block's tensors do not say: its heads, and by which kernels it runs."""

from __future__ import annotations

from typing import NamedTuple


class KernelConfig(NamedTuple):
    """The same for all blocks of a pass; a compiler takes it as constant."""

    heads: int
    epsilon: float
    attention: str  # the name of its backend
    fused_gelu: bool = False
    rope_kernel: bool = False
    norm_kernel: bool = False
