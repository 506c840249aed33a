"""Weights that wait in the host's memory, from where they are back in one copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import torch

from plugins.wan.weights import pinned


@dataclass(frozen=True)
class HostOffloader:
    """Moves a module's weights between its device and the host, in place; on a CPU they are where they are.

    On the host they lie in pinned pages, which a GPU reads at the full rate of its bus.
    """

    device: str

    def cool(self, part: torch.nn.Module) -> None:
        if self.device == "cpu":
            return
        weights = list(_weights(part))
        rooms = pinned.pinned_like(weights, pinned=True)
        for tensor, room in zip(weights, rooms, strict=True):
            room.copy_(tensor.data, non_blocking=True)
        torch.cuda.synchronize(self.device)
        _replace(weights, rooms)

    def warm(self, part: torch.nn.Module) -> None:
        if self.device == "cpu":
            return
        weights = list(_weights(part))
        rooms = [torch.empty_like(tensor.data, device=self.device) for tensor in weights]
        copies = torch.cuda.Stream(self.device)
        copies.wait_stream(torch.cuda.current_stream(self.device))  # which may still use what this memory was before
        with torch.cuda.stream(copies):
            for tensor, room in zip(weights, rooms, strict=True):
                room.copy_(tensor.data, non_blocking=True)
        copies.synchronize()
        _replace(weights, rooms)


def _replace(weights: list[torch.Tensor], rooms: list[torch.Tensor]) -> None:
    for tensor, room in zip(weights, rooms, strict=True):
        tensor.data = room


def _weights(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    return chain(module.parameters(), module.buffers())
