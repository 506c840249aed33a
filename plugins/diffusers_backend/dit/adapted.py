"""Wan's DiT with adapters: a second transformer over the same, unchanged weights."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, TypeVar

import torch
from diffusers import WanTransformer3DModel
from torch.nn import functional

from plugins.diffusers_backend.dit.linear import linear
from plugins.wan.weights.adapters.weights import AdapterWeights, Delta, Product, total
from plugins.wan.weights.quantised.layer import QuantisedLinear, weight_of

Used = Sequence[tuple[AdapterWeights, float]]  # adapters, each with its strength
Again = Callable[[], WanTransformer3DModel | None]  # makes a transformer again; None once its weights are gone
M = TypeVar("M", bound=torch.nn.Module)
AGAIN = "made_again_by"  # the attribute of a transformer with adapters
CHANGED = "has_changed_weights"  # the attribute of its modules with weights of their own
LAYERS = (torch.nn.Linear, torch.nn.Conv3d)
MOST_JOINED = 48  # ranks of products that are joined: the zeros beside them are computed too


class AdaptedLayer(torch.nn.Module):
    """A linear layer, or one of patches, with the summed products of its adapters.

    `down` is `(rank, in)` and `up` `(out, rank)`; all else is of the layer that it is made of.
    """

    down: torch.Tensor
    up: torch.Tensor

    @classmethod
    def of(cls, layer: torch.nn.Module, products: Sequence[Product]) -> AdaptedLayer:
        adapted = _copy(layer, cls)
        # no parameters: to compiled code they are of another type than what is joined or scaled
        down, up = (
            torch.cat(each, axis) if len(each) > 1 else each[0] for axis, each in enumerate(zip(*products, strict=True))
        )
        vars(adapted).update(down=down.detach(), up=up.detach())
        return adapted

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = weight_of(self), self._parameters["bias"]
        assert bias is not None
        if not isinstance(weight, torch.Tensor) or weight.ndim == 2:
            return linear(x, weight, bias, self.down, self.up)
        stride: Any = vars(self)["stride"]  # of patches, which do not overlap
        small = functional.conv3d(x, self.down.view(-1, *weight.shape[1:]), stride=stride)
        large = functional.conv3d(x, weight, bias, stride=stride)
        return large + functional.conv3d(small, self.up[..., None, None, None])


def product_of(module: torch.nn.Module) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return the `down` and `up` of a layer's adapters, None without."""
    return (module.down, module.up) if isinstance(module, AdaptedLayer) else (None, None)


def joined_product(*layers: Any) -> tuple[torch.Tensor | None, torch.Tensor | None] | None:
    """Return the `down` and `up` of joined layers; None for large ranks."""
    adapted = [layer for layer in layers if isinstance(layer, AdaptedLayer)]
    if not adapted:
        return None, None
    if sum(len(layer.down) for layer in adapted) > MOST_JOINED:
        return None
    ups = [layer.up if isinstance(layer, AdaptedLayer) else layer.bias.new_empty(len(layer.bias), 0)
           for layer in layers]  # fmt: skip
    return torch.cat([layer.down for layer in adapted]), torch.block_diag(*ups)


def is_changed(module: torch.nn.Module) -> bool:
    """Say whether a layer has weights of its own, changed by adapters."""
    return CHANGED in vars(module)


def with_adapters(model: WanTransformer3DModel, used: Used) -> WanTransformer3DModel:
    """Return `model` with adapters: a transformer of its own over the same weights."""
    deltas = total([weights.deltas(strength) for weights, strength in used])
    tree = frozenset[str]().union(*(weights.tree for weights, _ in used))
    twin: Any = _twin(model, "", tree, deltas)
    vars(twin)[AGAIN] = _again(model, used)
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


def _twin(module: torch.nn.Module, name: str, tree: Set[str], deltas: Mapping[str, Delta]) -> torch.nn.Module:
    """Return a copy of `module` that shares all weights but changed ones."""
    prefix = f"{name}." if name else ""
    if isinstance(module, QuantisedLinear) and (delta := deltas.get(f"{prefix}weight")) is not None and delta.added:
        module = module.as_dense()  # codes cannot take what is added to their numbers
    keys = ("weight", "bias") if isinstance(module, QuantisedLinear) else tuple(module._parameters)
    mine = {key: delta for key in keys if (delta := deltas.get(prefix + key)) is not None}
    beside: tuple[Product, ...] = ()
    if isinstance(module, LAYERS) and "weight" in mine:
        beside, mine["weight"] = mine["weight"].products, Delta(added=mine["weight"].added)
    twin = AdaptedLayer.of(module, beside) if beside else _copy(module, type(module))
    if changed := {key: delta for key, delta in mine.items() if delta.products or delta.added}:
        own = {key: _changed(each, changed.get(key)) for key, each in module._parameters.items()}
        vars(twin).update({"_parameters": own, CHANGED: True})
    if module._modules:
        children = {
            key: _twin(child, prefix + key, tree, deltas) if child is not None and prefix + key in tree else child
            for key, child in module._modules.items()
        }
        vars(twin)["_modules"] = children
    return twin


def _copy(module: torch.nn.Module, kind: type[M]) -> M:
    """Return a copy of `module` as a `kind`, which shares everything with it."""
    twin = kind.__new__(kind)
    vars(twin).update(vars(module))  # as copy.copy does, in a tenth of its time
    return twin


def _changed(parameter: torch.nn.Parameter | None, delta: Delta | None) -> torch.nn.Parameter | None:
    if parameter is None or delta is None:
        return parameter
    return torch.nn.Parameter(delta.merged(parameter), requires_grad=False)
