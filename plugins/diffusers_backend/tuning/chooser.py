"""The choice of a pass's kernels, by options or by measurements at its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from diffusers import WanTransformer3DModel

from plugins.diffusers_backend.dit import fused_ops
from plugins.diffusers_backend.dit.attention import NATIVE, attend, backend_of, backends_for
from plugins.diffusers_backend.dit.fused_ops import Affine, KernelConfig
from plugins.diffusers_backend.dit.linear import gelu, linear_with_gelu
from plugins.wan.tuning.autotune import APART, FUSED, Autotuner, Candidates
from plugins.wan.tuning.switches import Switches
from plugins.wan.weights.quantised.codes import product
from plugins.wan.weights.quantised.layer import weight_of


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


@dataclass(frozen=True)
class Chooser:
    """Choose kernels by `attention`, an option of ours, and by the `tuner`, if any."""

    attention: str | None = None
    tuner: Autotuner | None = None

    def config_for(self, model: WanTransformer3DModel, batch: int, tokens: int, switches: Switches) -> KernelConfig:
        """Return the kernels for `batch` clips of `tokens` tokens through `model`."""
        config = model.config
        plain = KernelConfig(config.num_attention_heads, config.eps, self.attention or backend_of(model))
        if self.tuner is None:
            return plain
        tuner, workload = self.tuner, Workload.of(model, batch, tokens)

        attention = plain.attention
        if switches.measured_attention:
            attention = tuner.fastest(f"attention {workload}", lambda: _attention(plain.attention, workload))
        fused = False
        if switches.gelu_epilogue and workload.capability is not None:  # a CPU's fused one is another GELU
            fused = tuner.fastest(f"GELU {workload}", lambda: _gelu_after_product(model, workload)) == FUSED

        def agrees(part: str, make: Callable[[WanTransformer3DModel, Workload], Candidates]) -> bool:
            return tuner.agrees(f"{part} {workload}", lambda: make(model, workload))

        return plain._replace(
            attention=attention,
            fused_gelu=fused,
            rope_kernel=switches.rope_kernel and agrees("norm and rotation", _norm_and_rotation),
            norm_kernel=switches.norm_kernel and agrees("residual and norm", _residual_and_norm),
        )


def _attention(first: str, workload: Workload) -> Candidates:
    query, key, value = workload.noise(3, workload.batch, workload.tokens, workload.heads, workload.head)
    names = backends_for(first, workload.capability)
    return {name: partial(attend, query, key, value, None, name) for name in names}


def _gelu_after_product(model: WanTransformer3DModel, workload: Workload) -> Candidates:
    layer = model.blocks[0].ffn.net[0].proj
    x = workload.noise(workload.batch, workload.tokens, layer.in_features)
    weight = weight_of(layer)
    return {
        APART: lambda: gelu(product(x, weight, layer.bias)),
        FUSED: lambda: linear_with_gelu(x, weight, layer.bias),
    }


def _norm_and_rotation(model: WanTransformer3DModel, workload: Workload) -> Candidates:
    weight, width = model.blocks[0].attn1.norm_q.weight, workload.heads * workload.head
    query = workload.noise(workload.batch, workload.tokens, 3 * width)[..., :width]  # the layout of a fused Q, K and V
    angles = workload.noise(1, workload.tokens, 1, workload.head // 2, dtype=torch.float32)
    by = angles.cos(), angles.sin()
    return _in_both(model, lambda kernels: fused_ops.norm_and_rope(query, weight, by, kernels))


def _residual_and_norm(model: WanTransformer3DModel, workload: Workload) -> Candidates:
    width = workload.heads * workload.head
    x, y = workload.noise(2, workload.batch, 1, workload.tokens, width)
    gate = workload.noise(1, 1, width, dtype=torch.float32)
    norm = Affine(*workload.noise(2, width, dtype=torch.float32))
    return _in_both(model, lambda kernels: fused_ops.residual_norm(x, y, gate, norm, kernels)[1])


def _in_both(model: WanTransformer3DModel, run: Callable[[KernelConfig], torch.Tensor]) -> Candidates:
    """Return `run` by PyTorch's kernels and by ours."""
    apart = KernelConfig(model.config.num_attention_heads, model.config.eps, NATIVE)
    return {APART: partial(run, apart), FUSED: partial(run, apart._replace(rope_kernel=True, norm_kernel=True))}
