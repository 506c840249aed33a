"""Model folders of true size without weights: configurations, headers, files of holes.

The server reads, plans, shares and loads them like the published ones; the probe then fills the weights with random
values on the card. As in the hub's cache, a file is named by a digest, which identifies it unread.
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import accelerate
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from bench.card.shapes import VAE_2_2, WAN_5B, WAN_14B
from nano.family import SHARED, WEIGHTS, write_index
from nano.parts import TEXT_DIM, VOCABULARY, scheduler
from plugins.wan.generate import preview
from plugins.wan.weights.modules import untied
from plugins.wan.weights.safetensors import TensorTypes, layout

# google/umt5-xxl; 5,680,910,336 parameters with this vocabulary
UMT5_XXL = {"vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
TOY_TEXT = {"vocab_size": VOCABULARY, "d_model": TEXT_DIM, "d_kv": 32, "d_ff": 256, "num_layers": 3, "num_heads": 4}
TOY_DIT = {"num_attention_heads": 4, "attention_head_dim": 32, "ffn_dim": 512, "num_layers": 6, "freq_dim": 128}
TOY_DIT |= {"text_dim": TEXT_DIM, "in_channels": 16, "out_channels": 16}
TOY_VAE = VAE_2_2 | {"base_dim": 16, "decoder_base_dim": 16, "dim_mult": [1, 2, 2], "temperal_downsample": [True, True]}
TOY_VAE |= {"num_res_blocks": 1, "z_dim": 16, "scale_factor_spatial": 8, "scale_factor_temporal": 4}
TOY_VAE |= {"latents_mean": [0.0] * 16, "latents_std": [1.0] * 16}
FAMILIES = {"t2v": "wan2.2-t2v-a14b", "i2v": "wan2.2-i2v-a14b", "ti2v": "wan2.2-ti2v-5b"}
IMAGE_CHANNELS = 36  # input channels of a DiT with an image beside its latents


@dataclass(frozen=True)
class Recipe:
    """A model: family, pipeline, configurations of its parts, settings of its index."""

    family: str
    pipeline: str
    dits: tuple[Mapping[str, Any], ...]
    vae: Mapping[str, Any]
    text: Mapping[str, Any]
    settings: Mapping[str, object] = field(default_factory=dict)


def wan_2_2(toy: bool) -> dict[str, Recipe]:
    text, big, small = (TOY_TEXT, TOY_DIT, TOY_DIT) if toy else (UMT5_XXL, WAN_14B, WAN_5B)
    first, second = (TOY_VAE, TOY_VAE) if toy else ({}, VAE_2_2)
    family = {name: f"wan-nano-{name}" for name in FAMILIES} if toy else FAMILIES
    pair, seen = (big,) * 2, ({**big, "in_channels": IMAGE_CHANNELS},) * 2
    either: dict[str, object] = {"boundary_ratio": None, "expand_timesteps": True}
    return {
        "ti2v": Recipe(family["ti2v"], "WanPipeline", (small,), second, text, either),
        "t2v": Recipe(family["t2v"], "WanPipeline", pair, first, text, {"boundary_ratio": 0.875}),
        "i2v": Recipe(family["i2v"], "WanImageToVideoPipeline", seen, first, text, {"boundary_ratio": 0.9}),
    }


def write(folder: Path, name: str, recipe: Recipe) -> Path:
    """Write a model folder with holes for weights, bf16, the VAE's fp32; return it."""
    snapshot = folder / name / "snapshots" / "0"
    text = UMT5Config(**recipe.text, dropout_rate=0.0, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    listed: dict[str, object] = {"scheduler": ["diffusers", "UniPCMultistepScheduler"]}
    listed["tokenizer"] = SHARED["tokenizer"]
    _part(snapshot, "text_encoder", UMT5EncoderModel, text, f"text {sorted(recipe.text.items())}", listed)
    _part(snapshot, "vae", AutoencoderKLWan, recipe.vae, f"vae {sorted(recipe.vae.items())}", listed)
    for part, config in zip(("transformer", "transformer_2"), recipe.dits, strict=False):
        _part(snapshot, part, WanTransformer3DModel, config, f"{name} {part}", listed)
    scheduler().save_pretrained(snapshot / "scheduler")
    shutil.copytree(WEIGHTS / "shared" / "tokenizer", snapshot / "tokenizer")
    if recipe.vae is TOY_VAE:  # the preview colours of a published VAE follow from its configuration
        shutil.copy(WEIGHTS / "shared" / "vae" / preview.FILE, snapshot / "vae")
    write_index(snapshot, recipe.pipeline, listed, recipe.settings)
    return snapshot


def _part(snapshot: Path, name: str, cls: Any, config: Any, identity: str, listed: dict[str, object]) -> None:
    with accelerate.init_empty_weights():
        module = cls(config) if cls is UMT5EncoderModel else cls(**config)
    (snapshot / name).mkdir(parents=True)
    (module.config.save_pretrained if cls is UMT5EncoderModel else module.save_config)(snapshot / name)
    dtype = torch.float32 if cls is AutoencoderKLWan else torch.bfloat16
    kinds: TensorTypes = {key: (dtype, tuple(tensor.shape)) for key, tensor in untied(module.state_dict()).items()}
    # models with the same `identity` share the part
    blob = snapshot.parents[1] / "blobs" / hashlib.sha256(identity.encode()).hexdigest()
    blob.parent.mkdir(exist_ok=True)
    header, placed = layout(blob, kinds)
    with blob.open("wb") as file:
        file.write(header)
        file.truncate(max(each.offset + each.length for each in placed.values()))
    stem = "model" if cls is UMT5EncoderModel else "diffusion_pytorch_model"
    (snapshot / name / f"{stem}.safetensors").symlink_to(blob)
    listed[name] = [cls.__module__.partition(".")[0], cls.__name__]
