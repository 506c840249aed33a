"""A transformer with random adapters at the linear layers of its blocks."""

import copy
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from plugins.diffusers_backend.dit.adapted import AdaptedLayer
from plugins.wan.weights.adapters.weights import Product

DEVIATION = 0.01  # of the products' weights


def with_random_products(model: WanTransformer3DModel, rank: int) -> WanTransformer3DModel:
    """Return a transformer over the weights of `model` with products of `rank`."""
    twin: Any = copy.deepcopy(model, {id(each): each for each in model.parameters()})
    for block in twin.blocks:
        for name, layer in list(block.named_modules()):
            if isinstance(layer, torch.nn.Linear):
                parent, _, last = name.rpartition(".")
                high, wide = layer.weight.shape
                down, up = layer.weight.new_empty(rank, wide), layer.weight.new_empty(high, rank)
                product = Product(down.normal_(std=DEVIATION), up.normal_(std=DEVIATION))
                setattr(block.get_submodule(parent), last, AdaptedLayer.of(layer, [product]))
    return twin.eval()
