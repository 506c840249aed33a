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
        config = {"hidden_size": kind.image_dim, "image_size": 224, "patch_size": 14}
        write_json(folder / "image_encoder" / "config.json", config)
        write_weights(folder / "image_encoder", {"a": (2, 2)}, stem="model")
        write_json(folder / "image_processor" / "preprocessor_config.json", {})
    write_json(folder / "text_encoder" / "config.json", {"d_model": kind.text, "num_layers": kind.text_layers})
    layers = {
        f"encoder.block.{number}.layer.0.SelfAttention.q.weight": (8, kind.text) for number in range(kind.text_layers)
    }
    write_weights(folder / "text_encoder", {"shared.weight": (64, kind.text), **layers}, kind.dtype, stem="model")
    write_json(folder / "vae" / "config.json", {"z_dim": kind.z, "scale_factor_spatial": kind.scale})
    write_weights(folder / "vae", {"decoder.conv_in.weight": (4, kind.z)}, "F32")
    write_json(folder / "tokenizer" / "tokenizer.json", {})
    write_json(folder / "scheduler" / "scheduler_config.json", {})
    write_json(folder / "model_index.json", index)
    return folder


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
        "image_dim": kind.image_dim,
        "pos_embed_seq_len": kind.pos_embed,
    }


def _transformer(kind: Kind) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of a published transformer: 27 a block, and some around them."""
    dim = kind.heads * kind.head_dim
    yield "patch_embedding.weight", (dim, kind.z, 1, 2, 2)
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
