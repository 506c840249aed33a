"""Room for weights in the host's memory; page-locked, a GPU reads it at the full rate of its bus."""

from __future__ import annotations

from collections.abc import Iterable

import torch

ALIGNMENT = 64  # of each tensor, in bytes
LEAST = 2 * 2**20  # bytes of a slab


def pinned_like(tensors: Iterable[torch.Tensor], pinned: bool) -> list[torch.Tensor]:
    """Return tensors on the host of the same shapes and dtypes, packed.

    They lie in slabs of powers of two of bytes: torch rounds each piece of page-locked memory up to one, which would
    nearly double the memory of a 14B model if each tensor were a piece. It keeps slabs that are let go of for the next.
    """
    wanted = list(tensors)
    found = [torch.empty(0)] * len(wanted)
    left = sum(_room(tensor) for tensor in wanted)
    slab, begin = torch.empty(0, dtype=torch.uint8), 0
    for index in sorted(range(len(wanted)), key=lambda index: -wanted[index].nbytes):  # small ones fill the gaps
        tensor, needed = wanted[index], _room(wanted[index])
        if begin + needed > slab.numel():
            slab, begin = torch.empty(_slab(needed, left), dtype=torch.uint8, pin_memory=pinned), 0
        found[index] = slab[begin : begin + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        begin, left = begin + needed, left - needed
    return found


def _room(tensor: torch.Tensor) -> int:
    return -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT


def _slab(needed: int, left: int) -> int:
    """Return the largest power of two that will be filled by what is left, or the one that takes the next tensor."""
    return max(LEAST, 1 << (left.bit_length() - 1), 1 << (needed - 1).bit_length())
