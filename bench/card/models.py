"""Models of published shapes with random weights, and random inputs."""

from collections.abc import Mapping
from typing import Any

import accelerate
import diffusers
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

from bench.card.shapes import OWN_TOKENS, TEXT_TOKENS
from plugins.wan.weights import modules

diffusers.utils.logging.set_verbosity_error()  # it logs each change of the attention backend
DEVIATION = 0.02  # of the weights; norms are one
TIME = 500.0


def transformer(config: Mapping[str, Any], device: str) -> WanTransformer3DModel:
    """Return a transformer in bf16, except the parts that diffusers keeps in fp32."""
    with accelerate.init_empty_weights():  # buffers are computed as usual
        model = WanTransformer3DModel(**config)
    kept = modules.kept_in_fp32(WanTransformer3DModel, torch.bfloat16)
    made = torch.Generator(device).manual_seed(1)
    weights = {}
    for name, parameter in model.named_parameters():
        words = name.split(".")
        dtype = torch.float32 if kept.intersection(words) else torch.bfloat16
        if words[-1] == "weight" and words[-2].startswith("norm"):
            weights[name] = torch.ones(parameter.shape, device=device, dtype=dtype)
        else:
            noise = torch.randn(parameter.shape, device=device, generator=made)
            weights[name] = noise.mul_(DEVIATION).to(dtype)
    modules.fill(model, weights, device)
    return model.eval().requires_grad_(False)


def vae(config: Mapping[str, Any], device: str, dtype: torch.dtype) -> AutoencoderKLWan:
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(2)
        return AutoencoderKLWan(**config).to(dtype).eval().requires_grad_(False)


def noise(device: str, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    made = torch.Generator(device).manual_seed(3)
    return torch.randn(shape, device=device, generator=made).to(dtype)


def prompts(count: int, dim: int, device: str) -> torch.Tensor:
    """Return embeddings `(count, 512, dim)` of short prompts."""
    embeds = noise(device, torch.bfloat16, count, TEXT_TOKENS, dim)
    embeds[:, OWN_TOKENS:] = 0
    return embeds


def times(device: str, count: int = 1) -> torch.Tensor:
    """Return a timestep for all tokens, or for each of `count` latent frames."""
    each = torch.full((count,), TIME, device=device)
    if count > 1:  # the first frame is an image
        each[0] = 0
    return each
