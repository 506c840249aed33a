"""Weights in host memory, page-locked for the full rate of a GPU's bus."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch

ALIGNMENT = 64  # of each tensor, in bytes
MIN_SLAB_BYTES = 2 * 2**20


@dataclass(frozen=True)
class HostOffloader:
    """Move a module's weights between device and pinned host memory, in place."""

    device: str

    def cool(self, part: torch.nn.Module) -> None:
        if self.device == "cpu":
            return
        weights = list(_weights(part))
        copies = pinned_like(weights)
        for tensor, copy in zip(weights, copies, strict=True):
            copy.copy_(tensor.data, non_blocking=True)
        torch.cuda.synchronize(self.device)
        _replace(weights, copies)

    def warm(self, part: torch.nn.Module) -> None:
        if self.device == "cpu":
            return
        weights = list(_weights(part))
        copies = [torch.empty_like(tensor.data, device=self.device) for tensor in weights]
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))  # may still use the memory's former contents
        with torch.cuda.stream(stream):
            for tensor, copy in zip(weights, copies, strict=True):
                copy.copy_(tensor.data, non_blocking=True)
        stream.synchronize()
        _replace(weights, copies)


def _replace(weights: list[torch.Tensor], copies: list[torch.Tensor]) -> None:
    for tensor, copy in zip(weights, copies, strict=True):
        tensor.data = copy


def _weights(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    return chain(module.parameters(), module.buffers())


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
