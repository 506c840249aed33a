"""Transformers of random weights whose block linears are in codes."""

import torch
from diffusers import WanTransformer3DModel

from plugins.wan.weights.device_format import FP8, FP8_PRODUCTS, format_of
from plugins.wan.weights.quantised.codes import quantise
from plugins.wan.weights.quantised.layer import CODES, SCALE, quantise_layers


def quantise_blocks(model: WanTransformer3DModel, form: str) -> None:
    """Quantise the block linears of `model` in fp8, int8 or for products in fp8."""
    own = FP8 if form == FP8_PRODUCTS else form
    weights = {
        name: weight.data
        for name, weight in model.named_parameters()
        if format_of("transformer", name, "", tuple(weight.shape), own)
    }
    quantise_layers(model, dict.fromkeys(weights, (form, model.patch_embedding.weight.dtype)))
    for name, weight in weights.items():
        layer = model.get_submodule(name.removesuffix(".weight"))
        for parameter, each in zip((CODES, SCALE), quantise(weight, own), strict=True):
            setattr(layer, parameter, torch.nn.Parameter(each, requires_grad=False))
