"""One block of Wan's DiT as a function of tensors, after diffusers' `WanTransformerBlock`."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import torch
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch.nn import functional

from plugins.diffusers_backend.dit import fused_ops
from plugins.diffusers_backend.dit.adapted import is_changed, joined_product, product_of
from plugins.diffusers_backend.dit.attention import attend
from plugins.diffusers_backend.dit.cross_attention import Context
from plugins.diffusers_backend.dit.fuse_qkv import can_fuse, fuse_qkv
from plugins.diffusers_backend.dit.fused_ops import Affine, KernelConfig
from plugins.diffusers_backend.dit.linear import gelu, linear, linear_with_gelu, linears
from plugins.diffusers_backend.dit.rope import Rotation
from plugins.wan.weights.quantised.codes import Weight
from plugins.wan.weights.quantised.layer import weight_of


class Layer(NamedTuple):
    """A linear layer, with the summed products of adapters, if any."""

    weight: Weight
    bias: torch.Tensor
    down: torch.Tensor | None = None
    up: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        return 0 if self.down is None else len(self.down)

    @property
    def kind(self) -> Hashable:
        """A value equal for layers of equal rank and number format."""
        return self.rank, None if isinstance(self.weight, torch.Tensor) else self.weight.format


class Weights(NamedTuple):
    """A block's own tensors; `qkv` is one fused layer, or three."""

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


def weights_of(block: WanTransformerBlock, fuse: bool) -> Weights:
    """Return the tensors of `block`; `fuse` makes Q, K and V views of one."""
    own, cross = block.attn1, block.attn2
    three = (own.to_q, own.to_k, own.to_v)
    product = joined_product(*three)
    # weights that others share must not move to be joined with changed ones
    fuse = fuse and product is not None and not any(map(is_changed, three)) and can_fuse(*three)
    return Weights(
        block.scale_shift_table,
        (Layer(*fuse_qkv(*three), *product),) if fuse and product else tuple(_layer(each) for each in three),
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
    """Return a value equal for blocks that a compiler does not distinguish."""
    first = blocks[0]
    kinds = tuple(tuple(layer.kind for layer in _layers(block)) for block in blocks)
    return len(blocks), kinds, first.up.weight.shape, first.cross_norm is None


def run_blocks(
    x: torch.Tensor,
    time: torch.Tensor,
    by: Rotation,
    contexts: Sequence[Context],
    bias: torch.Tensor | None,
    weights: Sequence[Weights],
    kernels: KernelConfig,
) -> torch.Tensor:
    """Return `x` after the blocks of `weights`; each block reads one of `contexts`."""
    for own, context in zip(weights, contexts, strict=True):
        x = _run(x, time, by, context, bias, own, kernels)
    return x


def _run(
    x: torch.Tensor,
    time: torch.Tensor,
    by: Rotation,
    context: Context,
    bias: torch.Tensor | None,
    weights: Weights,
    kernels: KernelConfig,
) -> torch.Tensor:
    """Return `x` `(b, groups, n, d)` after a block; groups share a row of `time` `(groups, 6, d)`.

    A batch of one becomes the text's batch: until cross-attention all its members are the same.
    """
    modulation = (weights.table + time.float()).unsqueeze(2).unbind(1)
    shift, scale, gate, feed_shift, feed_scale, feed_gate = modulation
    attended = self_attention(fused_ops.norm_modulate(x, shift, scale, kernels), by, weights, kernels)
    x, normed = fused_ops.residual_norm(x, attended, gate, weights.cross_norm, kernels)
    attended = cross_attention(normed, context, bias, weights, kernels)
    x, normed = fused_ops.residual_norm_modulate(x, attended, feed_shift, feed_scale, kernels)
    return fused_ops.residual(x, feed_forward(normed, weights, kernels), feed_gate, kernels)


def self_attention(x: torch.Tensor, by: Rotation, weights: Weights, kernels: KernelConfig) -> torch.Tensor:
    """Return the self-attention of `x` `(b, groups, n, d)`."""
    whole = x.flatten(1, 2)
    if len(weights.qkv) == 1:
        query, key, value = linear(whole, *weights.qkv[0]).chunk(3, dim=-1)
    else:
        query, key, value = linears(whole, weights.qkv)
    query = fused_ops.norm_and_rope(query, weights.norm_q, by, kernels)
    key = fused_ops.norm_and_rope(key, weights.norm_k, by, kernels)
    attended = attend(query, key, _heads(value, kernels), None, kernels.attention)
    return linear(attended.flatten(2), *weights.out).view_as(x)


def cross_attention(
    x: torch.Tensor, context: Context, bias: torch.Tensor | None, weights: Weights, kernels: KernelConfig
) -> torch.Tensor:
    """Return the cross-attention of `x` to the text and any image.

    `x` is `(b, groups, n, d)`.
    """
    text, image = context
    query = linear(x.flatten(1, 2), *weights.cross_q)
    query = _heads(functional.rms_norm(query, query.shape[-1:], weights.cross_norm_q, kernels.epsilon), kernels)
    query = query.expand(len(text.keys), -1, -1, -1)
    attended = attend(query, *text, bias, kernels.attention)
    if image is not None:
        attended = attended + attend(query, *image, None, kernels.attention)
    return linear(attended.flatten(2), *weights.cross_out).unflatten(1, x.shape[1:3])


def feed_forward(x: torch.Tensor, weights: Weights, kernels: KernelConfig) -> torch.Tensor:
    """Return the feed-forward layer of `x` `(..., d)`."""
    if kernels.fused_gelu and not weights.up.rank:
        wide = linear_with_gelu(x, weights.up.weight, weights.up.bias)
    else:
        wide = gelu(linear(x, *weights.up))
    return linear(wide, *weights.down)


def _heads(x: torch.Tensor, kernels: KernelConfig) -> torch.Tensor:
    return x.unflatten(2, (kernels.heads, -1))


def _layers(block: Weights) -> tuple[Layer, ...]:
    return (*block.qkv, block.out, block.cross_q, block.cross_out, block.up, block.down)


def _layer(module: Any) -> Layer:
    return Layer(weight_of(module), module.bias, *product_of(module))
