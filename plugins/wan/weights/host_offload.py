"""Weights that wait in host memory: one copy brings them back to the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import torch

from plugins.wan.weights.pinned import pinned_like


@dataclass(frozen=True)
class HostOffloader:
    """Move a module's weights between its device and pinned host memory, in place; on a CPU do nothing."""

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
