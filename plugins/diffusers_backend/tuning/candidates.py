"""What is measured before a choice: the ways to do one thing, over random tensors of the size in question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from diffusers import WanTransformer3DModel
from torch.nn import functional

from plugins.diffusers_backend.dit import fused_ops
from plugins.diffusers_backend.dit.attention import NATIVE, attend
from plugins.diffusers_backend.dit.fused_ops import Affine
from plugins.diffusers_backend.dit.gelu import gelu, linear_with_gelu
from plugins.diffusers_backend.dit.kernel_config import KernelConfig
from plugins.wan.tuning.autotune import APART, FUSED

Candidates = Mapping[str, Callable[[], torch.Tensor]]


class Workload(NamedTuple):
    """What decides which way is the fastest."""

    device: torch.device
    capability: tuple[int, int] | None  # of the card; None on a CPU
    dtype: torch.dtype
    batch: int
    tokens: int
    heads: int
    head: int
    wide: int  # inside the feed-forward layer

    @classmethod
    def of(cls, model: WanTransformer3DModel, batch: int, tokens: int) -> Workload:
        weight, config = model.patch_embedding.weight, model.config
        card = torch.cuda.get_device_capability(weight.device) if weight.device.type == "cuda" else None
        heads, head = config.num_attention_heads, config.attention_head_dim
        return cls(weight.device, card, weight.dtype, batch, tokens, heads, head, config.ffn_dim)

    def __str__(self) -> str:
        width = f"{self.heads} heads of {self.head}, {self.wide} wide"
        return f"of {self.batch} x {self.tokens} tokens, {width}, in {self.dtype}"

    def noise(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        made = torch.Generator(self.device).manual_seed(len(shape))
        return torch.randn(shape, generator=made, device=self.device, dtype=dtype or self.dtype)


def attention(names: Iterable[str], model: WanTransformer3DModel, case: Workload) -> Candidates:
    query, key, value = case.noise(3, case.batch, case.tokens, case.heads, case.head)
    return {name: lambda name=name: attend(query, key, value, None, name) for name in names}


def gelu_after_product(model: WanTransformer3DModel, case: Workload) -> Candidates:
    layer = model.blocks[0].ffn.net[0].proj
    x = case.noise(case.batch, case.tokens, layer.in_features)
    return {
        APART: lambda: gelu(functional.linear(x, layer.weight, layer.bias)),
        FUSED: lambda: linear_with_gelu(x, layer.weight, layer.bias),
    }


def norm_and_rotation(model: WanTransformer3DModel, case: Workload) -> Candidates:
    weight, width = model.blocks[0].attn1.norm_q.weight, case.heads * case.head
    query = case.noise(case.batch, case.tokens, 3 * width)[..., :width]  # as it is where Q, K and V are packed
    angles = case.noise(1, case.tokens, 1, case.head // 2, dtype=torch.float32)
    by = angles.cos(), angles.sin()
    apart, fused = _shapes(model)
    return {
        APART: lambda: fused_ops.norm_and_rope(query, weight, by, apart),
        FUSED: lambda: fused_ops.norm_and_rope(query, weight, by, fused),
    }


def residual_and_norm(model: WanTransformer3DModel, case: Workload) -> Candidates:
    width = case.heads * case.head
    x, y = case.noise(2, case.batch, 1, case.tokens, width)
    gate, norm = case.noise(1, 1, width, dtype=torch.float32), Affine(*case.noise(2, width, dtype=torch.float32))
    apart, fused = _shapes(model)
    return {
        APART: lambda: fused_ops.residual_norm(x, y, gate, norm, apart)[1],
        FUSED: lambda: fused_ops.residual_norm(x, y, gate, norm, fused)[1],
    }


def _shapes(model: WanTransformer3DModel) -> tuple[KernelConfig, KernelConfig]:
    """Return what says that PyTorch's kernels run, and that ours do."""
    apart = KernelConfig(model.config.num_attention_heads, model.config.eps, NATIVE)
    return apart, apart._replace(rope_kernel=True, norm_kernel=True)
