"""Model folders that some machines have, and others lack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry.folders import FolderError, ModelFolder, Part
from registry.folders.family import LARGEST
from registry.traits import FolderTraits, Traits

NUMBERS = {"transformer": ("num_attention_heads", "attention_head_dim"), "vae": ("scale_factor_spatial",)}
FLAGS = ("pos_embed_seq_len", "image_dim")  # of the transformer: that it has them counts
OTHER = "its folder of weights on this machine is not the published one: 'framegate reload' there publishes it"


@dataclass(frozen=True)
class Reading:
    """A folder as all machines see it, and why this one cannot load it."""

    folder: ModelFolder | FolderError | None
    lack: str | None = None


@dataclass(frozen=True)
class SharedFolders:
    """The folders that the machines of a store have read.

    Their traits count, so that all machines serve a model with the same modality, sizes and limits. With
    `prefer_local` a folder of this machine counts: it publishes the models file.
    """

    traits: Traits
    prefer_local: bool = False

    def read(self, source: str, here: ModelFolder | FolderError | None, path: Path, modality_known: bool) -> Reading:
        """Complete this machine's reading of a source by that of the others."""
        known = self.traits.get(source)
        if known is None or (self.prefer_local and isinstance(here, ModelFolder)):
            if isinstance(here, FolderError) and here.missing and modality_known:
                return Reading(None, here.reason)
            return Reading(here)
        folder = _folder(path, known)
        if isinstance(here, FolderError):
            return Reading(folder, here.reason)
        return Reading(folder, OTHER if here is not None and traits_of(here) != known else None)


def traits_of(folder: ModelFolder) -> FolderTraits:
    configs = {part: folder.parts[part].config for part in NUMBERS}
    numbers = [
        (part, key, value)
        for part, keys in NUMBERS.items()
        for key in keys
        if type(value := configs[part].get(key)) is int and 0 < value < LARGEST
    ]
    flags = [("transformer", key, 1) for key in FLAGS if configs["transformer"].get(key) is not None]
    return FolderTraits(folder.pipeline, folder.boundary_ratio, folder.expand_timesteps, (*numbers, *flags))


def _folder(path: Path, traits: FolderTraits) -> ModelFolder:
    """Return a folder with these traits, without weights."""
    configs: dict[str, dict[str, int]] = {part: {} for part in NUMBERS}
    for part, key, value in traits.numbers:
        configs[part][key] = value
    parts = {name: Part(name, path / name, "", "", config, None) for name, config in configs.items()}
    return ModelFolder(path, traits.pipeline, parts, traits.boundary_ratio, traits.expand_timesteps)
