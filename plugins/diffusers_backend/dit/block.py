"""One block of Wan's DiT as a function of tensors: the arithmetic of diffusers' `WanTransformerBlock`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import torch
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch.nn import functional

from plugins.diffusers_backend.dit import fused_ops
from plugins.diffusers_backend.dit.attention import attend
from plugins.diffusers_backend.dit.fuse_qkv import fuse_qkv
from plugins.diffusers_backend.dit.fused_ops import Affine
from plugins.diffusers_backend.dit.gelu import gelu, linear_with_gelu
from plugins.diffusers_backend.dit.kernel_config import KernelConfig
from plugins.diffusers_backend.dit.linear import linear
from plugins.diffusers_backend.dit.rope import Rotation
from plugins.diffusers_backend.dit.text import Context


class Layer(NamedTuple):
    """A linear layer's."""

    weight: torch.Tensor
    bias: torch.Tensor


class Weights(NamedTuple):
    """A block's own tensors; `qkv` is one layer where they are packed, else three."""

    table: torch.Tensor
    qkv: tuple[Layer, ...]
    norm_q: torch.Tensor
    norm_k: torch.Tensor
    out: Layer
    cross_norm: Affine | None
    cross_q: Layer
    cross_norm_q: torch.Tensor
    cross_out: Layer
    up: Layer
    down: Layer


def weights_of(block: WanTransformerBlock, pack: bool) -> Weights:
    """Return the tensors of `block`, no copies; with `pack` those of Q, K and V become views of one."""
    own, cross = block.attn1, block.attn2
    three = (own.to_q, own.to_k, own.to_v)
    return Weights(
        block.scale_shift_table,
        (Layer(*fuse_qkv(*three)),) if pack else tuple(_layer(each) for each in three),
        own.norm_q.weight,
        own.norm_k.weight,
        _layer(own.to_out[0]),
        None if isinstance(block.norm2, torch.nn.Identity) else Affine(block.norm2.weight, block.norm2.bias),
        _layer(cross.to_q),
        cross.norm_q.weight,
        _layer(cross.to_out[0]),
        _layer(block.ffn.net[0].proj),
        _layer(block.ffn.net[2]),
    )


def kind_of(blocks: Sequence[Weights]) -> Hashable:
    """Return a value that is equal for blocks that a compiler does not tell apart."""
    first = blocks[0]
    return len(blocks), len(first.qkv), first.up.weight.shape, first.cross_norm is None


def run_blocks(
    x: torch.Tensor,
    time: torch.Tensor,
    by: Rotation,
    contexts: Sequence[Context],
    bias: torch.Tensor | None,
    weights: Sequence[Weights],
    shape: KernelConfig,
) -> torch.Tensor:
    """Return `x` after the blocks of `weights`, each of which reads its own of `contexts`."""
    for own, context in zip(weights, contexts, strict=True):
        x = _run(x, time, by, context, bias, own, shape)
    return x


def _run(
    x: torch.Tensor,
    time: torch.Tensor,
    by: Rotation,
    context: Context,
    bias: torch.Tensor | None,
    weights: Weights,
    shape: KernelConfig,
) -> torch.Tensor:
    """Return `x` `(b, groups, n, d)` after a block; `time` `(groups, 6, d)` is alike for the `n` tokens of a group.

    A batch of one becomes that of the text, which is the first that its members have not in common.
    """
    modulation = (weights.table + time.float()).unsqueeze(2).unbind(1)
    shift, scale, gate, feed_shift, feed_scale, feed_gate = modulation
    attended = attend_itself(fused_ops.norm_modulate(x, shift, scale, shape), by, weights, shape)
    x, seen = fused_ops.residual_norm(x, attended, gate, weights.cross_norm, shape)
    told = attend_context(seen, context, bias, weights, shape)
    x, seen = fused_ops.residual_norm_modulate(x, told, feed_shift, feed_scale, shape)
    return fused_ops.residual(x, feed(seen, weights, shape), feed_gate, shape)


def attend_itself(x: torch.Tensor, by: Rotation, weights: Weights, shape: KernelConfig) -> torch.Tensor:
    """Return the self-attention of `x` `(b, groups, n, d)`."""
    whole = x.flatten(1, 2)
    if len(weights.qkv) == 1:
        query, key, value = linear(whole, *weights.qkv[0]).chunk(3, dim=-1)
    else:
        query, key, value = (linear(whole, *layer) for layer in weights.qkv)
    query, key = (
        fused_ops.norm_and_rope(query, weights.norm_q, by, shape),
        fused_ops.norm_and_rope(key, weights.norm_k, by, shape),
    )
    attended = attend(query, key, _heads(value, shape), None, shape.attention)
    return linear(attended.flatten(2), *weights.out).view_as(x)


def attend_context(
    x: torch.Tensor, context: Context, bias: torch.Tensor | None, weights: Weights, shape: KernelConfig
) -> torch.Tensor:
    """Return the cross-attention of `x` `(b, groups, n, d)` to the text, and to the image where there is one."""
    text, image = context
    query = linear(x.flatten(1, 2), *weights.cross_q)
    query = _heads(functional.rms_norm(query, query.shape[-1:], weights.cross_norm_q, shape.epsilon), shape)
    query = query.expand(len(text.keys), -1, -1, -1)
    attended = attend(query, *text, bias, shape.attention)
    if image is not None:
        attended = attended + attend(query, *image, None, shape.attention)
    return linear(attended.flatten(2), *weights.cross_out).unflatten(1, x.shape[1:3])


def feed(x: torch.Tensor, weights: Weights, shape: KernelConfig) -> torch.Tensor:
    """Return the feed-forward layer of `x` `(..., d)`."""
    wide = linear_with_gelu(x, *weights.up) if shape.fused_gelu else gelu(linear(x, *weights.up))
    return linear(wide, *weights.down)


def _heads(x: torch.Tensor, shape: KernelConfig) -> torch.Tensor:
    return x.unflatten(2, (shape.heads, -1))


def _layer(module: Any) -> Layer:
    return Layer(module.weight, module.bias)
