"""Toy checkpoints beyond the nano family: 2.1 with CLIP, flf2v, the 2.2 VAE."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from nano import parts
from nano.family import SHARED, write_index
from nano.parts import I2V_CHANNELS

IMAGE_DIM = 32
BLOCKS = 2  # as the short family's: what holds for two holds for six


def make_clip_i2v(folder: Path, patch: int = 14) -> None:
    """Write a 2.1 image-to-video model, whose transformer also reads CLIP's tokens."""
    _write_clip_model(folder, None, patch)


def make_clip_flf2v(folder: Path, patch: int = 14) -> None:
    """Write a 2.1 first-and-last-frame model; CLIP makes 257 tokens an image at `patch` 14."""
    _write_clip_model(folder, 2 * ((224 // patch) ** 2 + 1), patch)


def make_ti2v(folder: Path) -> None:
    """Write a 2.2 text-and-image model with its VAE: residual, patched, 16 pixels a latent."""
    _write(
        folder,
        "WanPipeline",
        {"vae": parts.seeded(2, vae_of_2_2), "transformer": parts.seeded(3, transformer)},
        {"boundary_ratio": None, "expand_timesteps": True},
    )


def transformer(in_channels: int = parts.Z_DIM, **changes: object) -> Any:
    """Return a diffusion transformer of two blocks."""
    return parts.transformer(in_channels, num_layers=BLOCKS, **changes)


def vae_of_2_1() -> Any:
    """Return a VAE of the 2.1 kind: three plain blocks, 8 pixels a latent."""
    changes = {"is_residual": False, "patch_size": None, "in_channels": 3, "out_channels": 3}
    return parts.vae(**changes, dim_mult=[1, 1, 2, 2], temperal_downsample=[False, True, True])


def vae_of_2_2() -> Any:
    """Return a VAE of the 2.2 kind as published: 16 pixels a latent."""
    return parts.vae(dim_mult=[1, 1, 2, 2], temperal_downsample=[False, True, True], scale_factor_spatial=16)


def clip(patch: int = 14) -> CLIPVisionModel:
    """Return a vision encoder of 257 tokens, as published, or fewer by larger patches."""
    config = CLIPVisionConfig(
        hidden_size=IMAGE_DIM,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=224,
        patch_size=patch,
    )
    return CLIPVisionModel(config).eval()


def _write_clip_model(folder: Path, pos_embed_seq_len: int | None, patch: int) -> None:
    sees = {"image_dim": IMAGE_DIM, "added_kv_proj_dim": 128, "pos_embed_seq_len": pos_embed_seq_len}

    _write(
        folder,
        "WanImageToVideoPipeline",
        {
            "vae": parts.seeded(2, vae_of_2_1),
            "image_encoder": parts.seeded(4, lambda: clip(patch)),
            "image_processor": CLIPImageProcessor(),
            "transformer": parts.seeded(3, lambda: transformer(I2V_CHANNELS, **sees)),
        },
        {"boundary_ratio": None},
    )


def _write(folder: Path, pipeline: str, special: Mapping[str, Any], settings: Mapping[str, object]) -> None:
    """Write a folder of nano's umT5 and tokenizer, and the `special` parts."""
    common = {"tokenizer": parts.tokenizer(), "text_encoder": parts.seeded(1, parts.text_encoder)}
    modules = {**common, "scheduler": parts.scheduler(), **special}
    for name, module in modules.items():
        module.save_pretrained(folder / name)
    listed: dict[str, object] = {name: _entry(module) for name, module in modules.items()}
    listed["tokenizer"] = SHARED["tokenizer"]
    write_index(folder, pipeline, listed, settings)


def _entry(module: Any) -> tuple[str, str]:
    name = type(module).__name__.removesuffix("Pil")
    return type(module).__module__.partition(".")[0], name
