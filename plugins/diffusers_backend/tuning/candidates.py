"""The candidates for each kernel, over random tensors of the pass's size."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from diffusers import WanTransformer3DModel
from torch.nn import functional

from plugins.diffusers_backend.dit import fused_ops
from plugins.diffusers_backend.dit.attention import NATIVE, attend
from plugins.diffusers_backend.dit.fused_ops import Affine
from plugins.diffusers_backend.dit.gelu import gelu, linear_with_gelu
from plugins.diffusers_backend.dit.kernel_config import KernelConfig
from plugins.wan.tuning.autotune import APART, FUSED, Candidates


class Workload(NamedTuple):
    """The properties of a pass that decide the fastest candidate."""

    device: torch.device
    capability: tuple[int, int] | None  # of the GPU; None on a CPU
    dtype: torch.dtype
    batch: int
    tokens: int
    heads: int
    head: int
    wide: int  # inside the feed-forward layer

    @classmethod
    def of(cls, model: WanTransformer3DModel, batch: int, tokens: int) -> Workload:
        weight, config = model.patch_embedding.weight, model.config
        capability = torch.cuda.get_device_capability(weight.device) if weight.device.type == "cuda" else None
        heads, head = config.num_attention_heads, config.attention_head_dim
        return cls(weight.device, capability, weight.dtype, batch, tokens, heads, head, config.ffn_dim)

    def __str__(self) -> str:
        width = f"{self.heads} heads of {self.head}, {self.wide} wide"
        return f"of {self.batch} x {self.tokens} tokens, {width}, in {self.dtype}"

    def noise(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        generator = torch.Generator(self.device).manual_seed(len(shape))
        return torch.randn(shape, generator=generator, device=self.device, dtype=dtype or self.dtype)


def attention(names: Iterable[str], model: WanTransformer3DModel, workload: Workload) -> Candidates:
    query, key, value = workload.noise(3, workload.batch, workload.tokens, workload.heads, workload.head)
    return {name: partial(attend, query, key, value, None, name) for name in names}


def gelu_after_product(model: WanTransformer3DModel, workload: Workload) -> Candidates:
    layer = model.blocks[0].ffn.net[0].proj
    x = workload.noise(workload.batch, workload.tokens, layer.in_features)
    return {
        APART: lambda: gelu(functional.linear(x, layer.weight, layer.bias)),
        FUSED: lambda: linear_with_gelu(x, layer.weight, layer.bias),
    }


def norm_and_rotation(model: WanTransformer3DModel, workload: Workload) -> Candidates:
    weight, width = model.blocks[0].attn1.norm_q.weight, workload.heads * workload.head
    query = workload.noise(workload.batch, workload.tokens, 3 * width)[..., :width]  # the layout of a fused Q, K and V
    angles = workload.noise(1, workload.tokens, 1, workload.head // 2, dtype=torch.float32)
    by = angles.cos(), angles.sin()
    apart, fused = _configs(model)
    return {
        APART: lambda: fused_ops.norm_and_rope(query, weight, by, apart),
        FUSED: lambda: fused_ops.norm_and_rope(query, weight, by, fused),
    }


def residual_and_norm(model: WanTransformer3DModel, workload: Workload) -> Candidates:
    width = workload.heads * workload.head
    x, y = workload.noise(2, workload.batch, 1, workload.tokens, width)
    gate = workload.noise(1, 1, width, dtype=torch.float32)
    norm = Affine(*workload.noise(2, width, dtype=torch.float32))
    apart, fused = _configs(model)
    return {
        APART: lambda: fused_ops.residual_norm(x, y, gate, norm, apart)[1],
        FUSED: lambda: fused_ops.residual_norm(x, y, gate, norm, fused)[1],
    }


def _configs(model: WanTransformer3DModel) -> tuple[KernelConfig, KernelConfig]:
    apart = KernelConfig(model.config.num_attention_heads, model.config.eps, NATIVE)
    return apart, apart._replace(rope_kernel=True, norm_kernel=True)
