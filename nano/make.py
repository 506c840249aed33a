"""Write the nano family as diffusers folders: one umT5, one tokenizer and one VAE, stored once, and three models."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHARED = {
    "text_encoder": ("transformers", "UMT5EncoderModel"),
    "tokenizer": ("transformers", "PreTrainedTokenizerFast"),
    "vae": ("diffusers", "AutoencoderKLWan"),
}
# what the published I2V takes: noisy latents, a mask of four channels, the image's latents
I2V_CHANNELS = 16 + 4 + 16


@dataclass(frozen=True)
class Recipe:
    """One model of the family: its pipeline, the seed and input channels of each transformer, its settings."""

    pipeline: str
    seeds: tuple[int, ...]
    in_channels: int
    settings: Mapping[str, object] = field(default_factory=dict)


RECIPES = {
    "wan-nano-t2v": Recipe("WanPipeline", (11, 12), 16, {"boundary_ratio": 0.875}),
    "wan-nano-i2v": Recipe("WanImageToVideoPipeline", (21, 22), I2V_CHANNELS, {"boundary_ratio": 0.9}),
    "wan-nano-ti2v": Recipe("WanPipeline", (31,), 16, {"boundary_ratio": None, "expand_timesteps": True}),
}


def make_family(folder: Path) -> None:
    """Write the family into `folder`, whole or not at all; return at once when it is there."""
    folder = Path(os.path.abspath(folder))
    if _is_made(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_name(f".{folder.name}.lock")):
        if _is_made(folder):
            return
        draft = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
        _write_shared(draft / "shared")
        for name, recipe in RECIPES.items():
            _write_model(draft / name, recipe)
        shutil.rmtree(folder, ignore_errors=True)  # what is there is not whole
        os.rename(draft, folder)


def write_index(folder: Path, pipeline: str, parts: Mapping[str, object], settings: Mapping[str, object]) -> None:
    """Write the `model_index.json` of a folder that holds `parts`: name -> (library, class)."""
    from diffusers import __version__

    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": __version__, **settings, **parts}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def _is_made(folder: Path) -> bool:
    return all((folder / name / "model_index.json").is_file() for name in RECIPES)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process in at a time; the lock file stays, since removing it would let two in."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_shared(folder: Path) -> None:
    from transformers.utils import logging

    from nano import parts

    logging.disable_progress_bar()  # an engine that makes the family has no terminal
    parts.tokenizer().save_pretrained(folder / "tokenizer")
    parts.seeded(1, parts.text_encoder).save_pretrained(folder / "text_encoder")
    parts.seeded(2, parts.vae).save_pretrained(folder / "vae")


def _write_model(folder: Path, recipe: Recipe) -> None:
    from nano import parts

    folder.mkdir(parents=True)
    for name in SHARED:
        (folder / name).symlink_to(Path("..", "shared", name))
    parts.scheduler().save_pretrained(folder / "scheduler")
    listed: dict[str, object] = {**SHARED, "scheduler": ("diffusers", "UniPCMultistepScheduler")}
    if recipe.pipeline == "WanImageToVideoPipeline":
        listed |= {"image_encoder": (None, None), "image_processor": (None, None)}
    listed["transformer_2"] = (None, None)
    for name, seed in zip(("transformer", "transformer_2"), recipe.seeds, strict=False):
        model = parts.seeded(seed, lambda: parts.transformer(recipe.in_channels))
        model.save_pretrained(folder / name)
        listed[name] = ("diffusers", "WanTransformer3DModel")
    write_index(folder, recipe.pipeline, listed, recipe.settings)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"python -m nano.make needs one folder to write to, got {len(sys.argv) - 1} arguments")
    make_family(Path(sys.argv[1]))
    print(f"{sys.argv[1]}: {', '.join(RECIPES)}")


if __name__ == "__main__":
    main()
