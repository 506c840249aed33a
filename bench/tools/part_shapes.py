"""Configurations and tensor shapes of the parts of a model folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.tools.layout import Kind

FREQUENCIES = 16
Shapes = dict[str, tuple[int, ...]]


def transformer_config(kind: Kind) -> dict[str, Any]:
    beside = kind.pipeline == "WanImageToVideoPipeline" and not kind.expand
    return {
        "num_attention_heads": kind.heads,
        "attention_head_dim": kind.head_dim,
        "num_layers": kind.layers,
        "in_channels": 2 * kind.z + 4 if beside else kind.z,
        "out_channels": kind.z,
        "text_dim": kind.text,
        "freq_dim": FREQUENCIES,
        "ffn_dim": kind.ffn,
        "image_dim": kind.image_dim,
        "pos_embed_seq_len": kind.pos_embed,
    }


def text_config(kind: Kind) -> dict[str, Any]:
    return {
        "d_model": kind.text,
        "num_layers": kind.text_layers,
        "vocab_size": 64,
        "num_heads": 2,
        "d_kv": 4,
        "d_ff": 32,
    }


def text_encoder(kind: Kind) -> Shapes:
    """Return the tensors that determine the size of an umT5."""
    shapes: Shapes = {"shared.weight": (64, kind.text)}
    for number in range(kind.text_layers):
        block = f"encoder.block.{number}.layer"
        shapes[f"{block}.0.SelfAttention.q.weight"] = (8, kind.text)
        shapes[f"{block}.0.SelfAttention.relative_attention_bias.weight"] = (32, 2)
        shapes[f"{block}.1.DenseReluDense.wi_0.weight"] = (32, kind.text)
    return shapes


def clip_config(width: int, patch: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "image_size": 224,
        "patch_size": patch,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 2 * width,
    }


def clip(width: int, patch: int) -> Shapes:
    layer = "vision_model.encoder.layers.0"
    return {
        "vision_model.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "vision_model.embeddings.position_embedding.weight": ((224 // patch) ** 2 + 1, width),
        f"{layer}.self_attn.q_proj.weight": (width, width),
        f"{layer}.mlp.fc1.weight": (2 * width, width),
    }


def vae(latents: int) -> Shapes:
    """Return the tensors that determine the size of a VAE of `VAE`."""
    cube = (3, 3, 3)
    shapes: Shapes = {
        "quant_conv.weight": (2 * latents, 2 * latents, 1, 1, 1),
        "post_quant_conv.weight": (latents, latents, 1, 1, 1),
        "encoder.conv_in.weight": (4, 3, *cube),
        "encoder.conv_out.weight": (2 * latents, 8, *cube),
        "decoder.conv_in.weight": (8, latents, *cube),
        "decoder.conv_out.weight": (3, 4, *cube),
    }
    for level, width in enumerate((8, 4)):
        for number in range(2):
            shapes[f"decoder.up_blocks.{level}.resnets.{number}.conv2.weight"] = (width, width, *cube)
    return shapes


def transformer(kind: Kind) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of a published transformer, 27 in each block."""
    dim, takes = kind.heads * kind.head_dim, transformer_config(kind)["in_channels"]
    yield "patch_embedding.weight", (dim, takes, 1, 2, 2)
    yield "condition_embedder.time_embedder.linear_1.weight", (dim, FREQUENCIES)
    yield "condition_embedder.text_embedder.linear_1.weight", (dim, kind.text)
    if kind.image_dim is not None:
        yield "condition_embedder.image_embedder.norm1.weight", (kind.image_dim,)
        if kind.pos_embed is not None:
            yield "condition_embedder.image_embedder.pos_embed", (1, kind.pos_embed, kind.image_dim)
    for number in range(kind.layers):
        block = f"blocks.{number}"
        yield f"{block}.scale_shift_table", (1, 6, dim)
        for attention in ("attn1", "attn2"):
            for layer in ("to_q", "to_k", "to_v", "to_out.0"):
                yield f"{block}.{attention}.{layer}.weight", (dim, dim)
                yield f"{block}.{attention}.{layer}.bias", (dim,)
            yield f"{block}.{attention}.norm_q.weight", (dim,)
            yield f"{block}.{attention}.norm_k.weight", (dim,)
        yield f"{block}.norm2.weight", (dim,)
        yield f"{block}.norm2.bias", (dim,)
        yield f"{block}.ffn.net.0.proj.weight", (kind.ffn, dim)
        yield f"{block}.ffn.net.0.proj.bias", (kind.ffn,)
        yield f"{block}.ffn.net.2.weight", (dim, kind.ffn)
        yield f"{block}.ffn.net.2.bias", (dim,)
    yield "proj_out.weight", (4 * kind.z, dim)
