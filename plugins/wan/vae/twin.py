"""A second module over the same weights, for other forward passes."""

import copy
from collections.abc import Mapping
from itertools import chain
from typing import Any, TypeVar

import torch

M = TypeVar("M", bound=torch.nn.Module)


def twin(module: M) -> M:
    """Return a copy of `module` that shares its parameters and buffers."""
    shared = {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())}
    return copy.deepcopy(module, shared)


def is_hooked(module: torch.nn.Module) -> bool:
    return any(has_hooks(vars(each)) for each in module.modules())


def has_hooks(attributes: Mapping[str, Any]) -> bool:
    if attributes["_forward_hooks"] or attributes["_forward_pre_hooks"] or "_hf_hook" in attributes:
        return True
    registry = attributes.get("_diffusers_hook")  # the pipelines leave an empty one behind
    return registry is not None and bool(registry.hooks)
