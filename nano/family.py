"""The family as diffusers folders: links to weights stored once in the package."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parent / "weights"
SHARED = {
    "text_encoder": ("transformers", "UMT5EncoderModel"),
    "tokenizer": ("transformers", "PreTrainedTokenizerFast"),
    "vae": ("diffusers", "AutoencoderKLWan"),
}


@dataclass(frozen=True)
class Recipe:
    """A model of the family: pipeline, training stage of each transformer, settings."""

    pipeline: str
    stages: tuple[str, ...]
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def transformers(self) -> dict[str, str]:
        return dict(zip(("transformer", "transformer_2"), self.stages, strict=False))


RECIPES = {
    "wan-nano-t2v": Recipe("WanPipeline", ("t2v-high", "t2v-low"), {"boundary_ratio": 0.875}),
    "wan-nano-i2v": Recipe("WanImageToVideoPipeline", ("i2v-high", "i2v-low"), {"boundary_ratio": 0.9}),
    "wan-nano-ti2v": Recipe("WanPipeline", ("ti2v",), {"boundary_ratio": None, "expand_timesteps": True}),
}


def link_family(folder: Path, weights: Path = WEIGHTS) -> None:
    """Create the models in `folder` as links; do nothing if the folder is complete."""
    folder = Path(os.path.abspath(folder))
    if _is_whole(folder, weights):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f".{folder.name}.lock")):
        if _is_whole(folder, weights):
            return
        draft = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(draft, ignore_errors=True)  # left by a killed process
        for name in RECIPES:
            (draft / name).mkdir(parents=True)
            for part in _parts(name, weights):
                (draft / name / part.name).symlink_to(part)
        shutil.rmtree(folder, ignore_errors=True)  # links into a package that was moved
        os.rename(draft, folder)  # the folder is complete or absent


def write_index(folder: Path, pipeline: str, parts: Mapping[str, object], settings: Mapping[str, object]) -> None:
    """Write the `model_index.json` of a folder with `parts`: name -> (library, class)."""
    from diffusers import __version__

    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": __version__, **settings, **parts}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def _parts(name: str, weights: Path) -> list[Path]:
    return [path.resolve() for path in (*(weights / name).iterdir(), *(weights / "shared").iterdir())]


def _is_whole(folder: Path, weights: Path) -> bool:
    return all((folder / name / part.name).resolve() == part for name in RECIPES for part in _parts(name, weights))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:  # the file stays: removing it would let two processes lock at once
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
