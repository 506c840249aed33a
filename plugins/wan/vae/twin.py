"""A second module over the same weights, whose forward passes may be others."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import chain
from typing import Any, TypeVar

import torch

M = TypeVar("M", bound=torch.nn.Module)


def twin(module: M) -> M:
    """Return a copy of `module` that shares its parameters and buffers: wherever these move, both find them."""
    shared = {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())}
    return copy.deepcopy(module, shared)


def is_hooked(module: torch.nn.Module) -> bool:
    """Say whether something (offloading, a step cache) wraps the forward pass of `module` or of one inside it."""
    return any(has_hooks(vars(each)) for each in module.modules())


def has_hooks(its: Mapping[str, Any]) -> bool:
    """Say so of one module by its attributes; the pipelines leave diffusers' registry, empty, on what they ran."""
    if its["_forward_hooks"] or its["_forward_pre_hooks"] or "_hf_hook" in its:
        return True
    registry = its.get("_diffusers_hook")
    return registry is not None and bool(registry.hooks)
