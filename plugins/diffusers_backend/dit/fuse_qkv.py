"""Weights of several linear layers as one, without a second copy of them."""

from __future__ import annotations

import torch


def fuse_qkv(*layers: torch.nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights, and the biases, of `layers` one below the other.

    From the first time on, the layers' own tensors are views of these, with the bits that they had, so that whoever
    runs them one by one gets the same. When they have moved since, they are packed again.
    """
    return _joined([layer.weight for layer in layers]), _joined([layer.bias for layer in layers])


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    first = parts[0]
    shape = (sum(len(part) for part in parts), *first.shape[1:])
    if _is_joined(parts):
        return first.detach().as_strided(shape, first.stride())
    whole = torch.cat([part.detach() for part in parts])
    for part, view in zip(parts, whole.split([len(part) for part in parts]), strict=True):
        part.data = view
    return whole


def _is_joined(parts: list[torch.Tensor]) -> bool:
    """Say whether each part begins where the one before it ends, in one allocation."""
    end = parts[0].data_ptr()
    for part in parts:
        if part.untyped_storage().data_ptr() != parts[0].untyped_storage().data_ptr() or part.data_ptr() != end:
            return False
        end += part.nbytes
    return all(part.is_contiguous() for part in parts)
