"""Model folders in the diffusers layout: real headers, holes for tensors, no torch."""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.tools import part_shapes

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "I8": 1, "U8": 1, "F8_E4M3": 1, "I64": 8}
TRANSFORMER = ["diffusers", "WanTransformer3DModel"]


@dataclass(frozen=True)
class Kind:
    """The kind of a model folder; the default sizes are a toy's."""

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
        write_json(folder / name / "config.json", part_shapes.transformer_config(kind))
        write_weights(folder / name, dict(part_shapes.transformer(kind)), kind.dtype, kind.shards)
    if kind.image_dim is not None:
        index["image_encoder"] = ["transformers", "CLIPVisionModel"]
        index["image_processor"] = ["transformers", "CLIPImageProcessor"]
        write_json(folder / "image_encoder" / "config.json", part_shapes.clip_config(kind.image_dim, kind.clip_patch))
        write_weights(folder / "image_encoder", part_shapes.clip(kind.image_dim, kind.clip_patch), stem="model")
        write_json(folder / "image_processor" / "preprocessor_config.json", {})
    write_text_encoder(folder / "text_encoder", kind)
    write_vae(folder / "vae", kind)
    write_json(folder / "tokenizer" / "tokenizer.json", {})
    write_json(folder / "scheduler" / "scheduler_config.json", {})
    write_json(folder / "model_index.json", index)
    return folder


def write_text_encoder(folder: Path, kind: Kind) -> None:
    write_json(folder / "config.json", part_shapes.text_config(kind))
    write_weights(folder, part_shapes.text_encoder(kind), kind.dtype, stem="model")


def write_vae(folder: Path, kind: Kind) -> None:
    write_json(folder / "config.json", VAE | {"z_dim": kind.z, "scale_factor_spatial": kind.scale})
    write_weights(folder, part_shapes.vae(kind.z), "F32")


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
