"""Host memory for weights; a GPU reads page-locked memory at the full rate of its bus."""

from __future__ import annotations

from collections.abc import Iterable

import torch

ALIGNMENT = 64  # of each tensor, in bytes
MIN_SLAB_BYTES = 2 * 2**20


def pinned_like(tensors: Iterable[torch.Tensor], pinned: bool = True) -> list[torch.Tensor]:
    """Return packed host tensors of the same shapes and dtypes, page-locked if `pinned`."""
    # Slabs of powers of two of bytes: torch rounds each piece of page-locked memory up to one, so a piece for each
    # tensor would nearly double the memory of a 14B model. Torch keeps freed slabs for the next allocation.
    sources = list(tensors)
    copies = [torch.empty(0)] * len(sources)
    left = sum(_aligned(tensor) for tensor in sources)
    slab, begin = torch.empty(0, dtype=torch.uint8), 0
    for index in sorted(range(len(sources)), key=lambda index: -sources[index].nbytes):  # small ones fill the gaps
        tensor, needed = sources[index], _aligned(sources[index])
        if begin + needed > slab.numel():
            slab, begin = torch.empty(_slab_bytes(needed, left), dtype=torch.uint8, pin_memory=pinned), 0
        copies[index] = slab[begin : begin + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        begin, left = begin + needed, left - needed
    return copies


def _aligned(tensor: torch.Tensor) -> int:
    return -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT


def _slab_bytes(needed: int, left: int) -> int:
    """Return the largest power of two within the `left` bytes, at least `needed`."""
    return max(MIN_SLAB_BYTES, 1 << (left.bit_length() - 1), 1 << (needed - 1).bit_length())
