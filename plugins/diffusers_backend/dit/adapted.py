"""Wan's DiT with adapters: a second transformer over the same, unchanged weights."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch.nn import functional

from plugins.diffusers_backend.dit.linear import linear
from plugins.wan.weights.adapters.weights import AdapterWeights, Delta, Product, total

Used = Sequence[tuple[AdapterWeights, float]]  # adapters, each with its strength
Again = Callable[[], WanTransformer3DModel | None]  # makes a transformer again; None once its weights are gone
AGAIN = "made_again_by"  # the attribute of a transformer with adapters
CHANGED = "has_changed_weights"  # the attribute of its modules with weights of their own
LAYERS = (torch.nn.Linear, torch.nn.Conv3d)


class AdaptedLayer(torch.nn.Module):
    """A linear layer, or one of patches, with the summed products of its adapters.

    `down` is `(rank, in)` and `up` `(out, rank)`; the weight and the bias are those of `layer`.
    """

    def __init__(self, layer: Any, parameters: Mapping[str, Any], products: Sequence[Product]) -> None:
        super().__init__()
        self.weight, self.bias = parameters["weight"], parameters["bias"]
        # no parameters: to compiled code they are of another type than what is joined or scaled
        self.down = _joined([product.down for product in products], 0).detach()
        self.up = _joined([product.up for product in products], 1).detach()
        self.stride = getattr(layer, "stride", None)  # of patches, which do not overlap

    @property
    def in_features(self) -> int:
        return self.weight[0].numel()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride is None:
            return linear(x, self.weight, self.bias, self.down, self.up)
        sides = self.weight.shape[1:]
        small = functional.conv3d(x, self.down.view(-1, *sides), stride=self.stride)
        large = functional.conv3d(x, self.weight, self.bias, stride=self.stride)
        return large + functional.conv3d(small, self.up[..., None, None, None])


def product_of(module: torch.nn.Module) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return the `down` and `up` of a layer's adapters, None without."""
    return (module.down, module.up) if isinstance(module, AdaptedLayer) else (None, None)


def is_changed(module: torch.nn.Module) -> bool:
    """Say whether a layer has adapters, beside its weights or in them."""
    return isinstance(module, AdaptedLayer) or CHANGED in vars(module)


def with_adapters(model: WanTransformer3DModel, used: Used) -> WanTransformer3DModel:
    """Return `model` with adapters: a transformer of its own over the same weights."""
    deltas = total([weights.deltas(strength) for weights, strength in used])
    twin: Any = _twin(model, "", _tree(deltas), deltas)
    setattr(twin, AGAIN, _again(model, used))
    return twin


def again(model: WanTransformer3DModel) -> Again:
    """Return a function that makes `model` again, without holding its weights."""
    made: Again | None = vars(model).get(AGAIN)
    return weakref.ref(model) if made is None else made


def _again(model: WanTransformer3DModel, used: Used) -> Again:
    base, adapters = weakref.ref(model), [(weakref.ref(weights), strength) for weights, strength in used]

    def make() -> WanTransformer3DModel | None:
        model, found = base(), [(weights(), strength) for weights, strength in adapters]
        alive = [(weights, strength) for weights, strength in found if weights is not None]
        return with_adapters(model, alive) if model is not None and len(alive) == len(found) else None

    return make


def _tree(deltas: Mapping[str, Delta]) -> set[str]:
    """Return the names of all modules on the way to a changed weight."""
    return {name.rpartition(".")[0][:end] for name in deltas for end in _ends(name.rpartition(".")[0])}


def _ends(module: str) -> list[int]:
    return [0, *(place for place, letter in enumerate(module) if letter == "."), len(module)]


def _twin(module: torch.nn.Module, name: str, tree: set[str], deltas: Mapping[str, Delta]) -> torch.nn.Module:
    """Return a copy of `module` that shares all weights but changed ones."""
    prefix = f"{name}." if name else ""
    mine = {key: delta for key in module._parameters if (delta := deltas.get(prefix + key)) is not None}
    beside: tuple[Product, ...] = ()
    if isinstance(module, LAYERS) and "weight" in mine:
        beside, mine["weight"] = mine["weight"].products, Delta(added=mine["weight"].added)
    parameters = {key: _changed(parameter, mine.get(key)) for key, parameter in module._parameters.items()}
    if beside:
        return AdaptedLayer(module, parameters, beside).eval()
    twin = copy.copy(module)
    twin._parameters = parameters
    if mine:
        setattr(twin, CHANGED, True)
    twin._modules = {
        key: _twin(child, prefix + key, tree, deltas) if child is not None and prefix + key in tree else child
        for key, child in module._modules.items()
    }
    return twin


def _changed(parameter: torch.nn.Parameter | None, delta: Delta | None) -> torch.nn.Parameter | None:
    if parameter is None or delta is None or delta == Delta():
        return parameter
    return torch.nn.Parameter(delta.merged(parameter), requires_grad=False)


def _joined(tensors: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim=axis)
