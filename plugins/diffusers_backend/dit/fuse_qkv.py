"""The weights of several linear layers as one tensor, without a second copy."""

from collections.abc import Sequence
from typing import Any

import torch

from plugins.wan.weights.quantised.codes import Codes, Weight
from plugins.wan.weights.quantised.layer import weight_of


def can_fuse(*layers: Any) -> bool:
    """Say whether the weights of `layers` have one format."""
    return len({getattr(weight_of(layer), "format", None) for layer in layers}) == 1


def fuse_qkv(*layers: Any) -> tuple[Weight, torch.Tensor]:
    """Return the weights, and the biases, of `layers` one below the other.

    The layers' own tensors become views of the result with their former bits, so that each layer still runs by itself.
    Layers that have moved since are joined again.
    """
    return _joined([weight_of(layer) for layer in layers]), _join([layer.bias for layer in layers])


def _joined(weights: Sequence[Weight]) -> Weight:
    codes = [each for each in weights if isinstance(each, Codes)]
    if not codes:
        return _join([each for each in weights if isinstance(each, torch.Tensor)])
    scales = [each.scale for each in codes if each.scale is not None]
    return Codes(_join([each.codes for each in codes]), _join(scales) if scales else None, codes[0].format)


def _join(parts: list[torch.Tensor]) -> torch.Tensor:
    first = parts[0]
    shape = (sum(len(part) for part in parts), *first.shape[1:])
    if _is_joined(parts):
        return first.detach().as_strided(shape, first.stride())
    whole = torch.cat([part.detach() for part in parts])
    for part, view in zip(parts, whole.split([len(part) for part in parts]), strict=True):
        part.data = view
    return whole


def _is_joined(parts: list[torch.Tensor]) -> bool:
    end = parts[0].data_ptr()
    for part in parts:
        if part.untyped_storage().data_ptr() != parts[0].untyped_storage().data_ptr() or part.data_ptr() != end:
            return False
        end += part.nbytes
    return all(part.is_contiguous() for part in parts)
