"""Whether a transformer is of the architecture that our forward pass knows, and nothing has been added to it."""

from __future__ import annotations

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor, WanTransformerBlock

from plugins.diffusers_backend.fast.twin import is_hooked


def obstacle(transformer: WanTransformer3DModel) -> str | None:
    """Return what stands against our forward pass, in words; None where nothing does."""
    config = transformer.config
    if config.image_dim is not None or config.added_kv_proj_dim is not None:
        return "it also reads what CLIP sees"
    if config.qk_norm != "rms_norm_across_heads":
        return f"its qk_norm is {config.qk_norm}"
    if tuple(config.patch_size) != (1, 2, 2):
        return f"its patches are {config.patch_size}"
    if is_hooked(transformer):
        return "something is hooked into its forward pass"
    if getattr(transformer, "_hf_peft_config_loaded", False):
        return "it has adapters"
    if any(type(block) is not WanTransformerBlock for block in transformer.blocks):
        return "its blocks are not diffusers' own"
    return _foreign_layer(transformer)


def _foreign_layer(transformer: WanTransformer3DModel) -> str | None:
    """Return which layer is wrapped, quantised, fused or has another processor."""
    for name, module in transformer.named_modules():
        if isinstance(module, torch.nn.Linear) and type(module) is not torch.nn.Linear:
            return f"{name} is a {type(module).__name__}"
        if isinstance(module, WanAttention):
            if type(module.processor) is not WanAttnProcessor or module.processor._parallel_config is not None:
                return f"{name} has a {type(module.processor).__name__} that is not diffusers' plain one"
            if getattr(module, "fused_projections", False):
                return f"{name} has fused projections"
    return None
