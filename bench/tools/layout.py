"""Folders in the diffusers layout as the published ones are, with real headers and holes for tensors; no torch."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "I8": 1, "U8": 1, "F8_E4M3": 1, "I64": 8}
TRANSFORMER = ["diffusers", "WanTransformer3DModel"]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Kind:
    """What a folder is to be; the sizes of a toy unless they are given."""

    pipeline: str = "WanPipeline"
    experts: int = 1
    expand: bool = False
    image_dim: int | None = None
    pos_embed: int | None = None
    heads: int = 2
    head_dim: int = 8
    layers: int = 2
    ffn: int = 32
    text: int = 16
    z: int = 16
    scale: int = 8
    dtype: str = "BF16"
    shards: int = 1
    text_layers: int = 1
    clip_patch: int = 14


FREQUENCIES = 16
VAE = {"base_dim": 4, "dim_mult": [1, 2], "num_res_blocks": 1, "temperal_downsample": [False]}
T2V = Kind()
A14B = Kind(experts=2)
I2V = Kind("WanImageToVideoPipeline", experts=2)
CLIP_I2V = Kind("WanImageToVideoPipeline", image_dim=12)
FLF2V = Kind("WanImageToVideoPipeline", image_dim=12, pos_embed=514)
TI2V = Kind(expand=True, z=48, scale=16)
# Wan 2.2 A14B in fp32: 57 GB a transformer, 22 GB of umT5
TRUE_SIZE = Kind(experts=2, heads=40, head_dim=128, layers=40, ffn=13824, text=4096, dtype="F32", shards=12)


def write_model(folder: Path, kind: Kind = T2V) -> Path:
    """Write a whole model folder of this kind."""
    index: dict[str, Any] = {
        "_class_name": kind.pipeline,
        "boundary_ratio": 0.875 if kind.experts > 1 else None,
        "expand_timesteps": kind.expand,
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "transformer": TRANSFORMER,
        "transformer_2": TRANSFORMER if kind.experts > 1 else [None, None],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    for name in ("transformer", "transformer_2")[: kind.experts]:
        write_json(folder / name / "config.json", _transformer_config(kind))
        write_weights(folder / name, dict(_transformer(kind)), kind.dtype, kind.shards)
    if kind.image_dim is not None:
        index["image_encoder"] = ["transformers", "CLIPVisionModel"]
        index["image_processor"] = ["transformers", "CLIPImageProcessor"]
        write_json(folder / "image_encoder" / "config.json", _clip_config(kind.image_dim, kind.clip_patch))
        write_weights(folder / "image_encoder", _clip(kind.image_dim, kind.clip_patch), stem="model")
        write_json(folder / "image_processor" / "preprocessor_config.json", {})
    write_text_encoder(folder / "text_encoder", kind)
    write_vae(folder / "vae", kind)
    write_json(folder / "tokenizer" / "tokenizer.json", {})
    write_json(folder / "scheduler" / "scheduler_config.json", {})
    write_json(folder / "model_index.json", index)
    return folder


def write_text_encoder(folder: Path, kind: Kind) -> None:
    write_json(folder / "config.json", _text_config(kind))
    write_weights(folder, _text(kind), kind.dtype, stem="model")


def write_vae(folder: Path, kind: Kind) -> None:
    write_json(folder / "config.json", VAE | {"z_dim": kind.z, "scale_factor_spatial": kind.scale})
    write_weights(folder, _vae(kind.z), "F32")


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_weights(
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: str = "BF16",
    shards: int = 1,
    stem: str = "diffusion_pytorch_model",
) -> None:
    """Write these tensors as one file, or as shards with their index."""
    folder.mkdir(parents=True, exist_ok=True)
    if shards == 1:
        write_safetensors(folder / f"{stem}.safetensors", shapes, dtype)
        return
    names = list(shapes)
    listed = {}
    for number in range(shards):
        file = f"{stem}-{number + 1:05}-of-{shards:05}.safetensors"
        own = names[number * len(names) // shards : (number + 1) * len(names) // shards]
        write_safetensors(folder / file, {name: shapes[name] for name in own}, dtype)
        listed |= dict.fromkeys(own, file)
    write_json(folder / f"{stem}.safetensors.index.json", {"metadata": {}, "weight_map": listed})


def write_safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str = "BF16") -> None:
    """Write a header, and a hole where the tensors would be."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, shape in shapes.items():
        end = begin + BYTES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + begin)


def _transformer_config(kind: Kind) -> dict[str, Any]:
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


def _text_config(kind: Kind) -> dict[str, Any]:
    return {
        "d_model": kind.text,
        "num_layers": kind.text_layers,
        "vocab_size": 64,
        "num_heads": 2,
        "d_kv": 4,
        "d_ff": 32,
    }


def _text(kind: Kind) -> Shapes:
    """Return the tensors that say how large an umT5 is."""
    shapes: Shapes = {"shared.weight": (64, kind.text)}
    for number in range(kind.text_layers):
        block = f"encoder.block.{number}.layer"
        shapes[f"{block}.0.SelfAttention.q.weight"] = (8, kind.text)
        shapes[f"{block}.0.SelfAttention.relative_attention_bias.weight"] = (32, 2)
        shapes[f"{block}.1.DenseReluDense.wi_0.weight"] = (32, kind.text)
    return shapes


def _clip_config(width: int, patch: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "image_size": 224,
        "patch_size": patch,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 2 * width,
    }


def _clip(width: int, patch: int) -> Shapes:
    layer = "vision_model.encoder.layers.0"
    return {
        "vision_model.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "vision_model.embeddings.position_embedding.weight": ((224 // patch) ** 2 + 1, width),
        f"{layer}.self_attn.q_proj.weight": (width, width),
        f"{layer}.mlp.fc1.weight": (2 * width, width),
    }


def _vae(latents: int) -> Shapes:
    """Return the tensors that say how large a VAE of the configuration `VAE` is."""
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


def _transformer(kind: Kind) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of a published transformer: 27 a block, and some around them."""
    dim, takes = kind.heads * kind.head_dim, _transformer_config(kind)["in_channels"]
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
