"""Folders without a model index: their layout, and the repository to take instead."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from registry.errors import FolderError
from registry.families import FAMILIES, Family
from registry.folders.family import alike
from registry.folders.files import read_json
from registry.folders.model import INDEX
from registry.folders.single_file import SingleFile
from registry.folders.weights import shapes_of
from registry.modality import Modality

SHOWN = 3
AS_PARTS = "name its safetensors under `parts`"
KINDS = {"t2v": Modality.T2V, "i2v": Modality.I2V, "ti2v": Modality.TI2V, "flf2v": Modality.FLF2V}
EXPERTS = ("high_noise_model", "low_noise_model")  # the folders of Wan 2.2's original layout


def explained(path: Path) -> FolderError:
    """Return the error for a path without a model index."""
    needed = f"a folder of diffusers weights has a {INDEX}"
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return FolderError(f"{needed}: there is no such folder", path, missing=True)
    except (OSError, ValueError) as error:
        return FolderError(f"{needed}: the folder cannot be read: {getattr(error, 'strerror', error)}", path)
    if not os.path.isdir(path):
        return FolderError(f"{needed}: this is a file: {_as_part(path)}", path)
    try:
        inside = sorted(os.listdir(path))
    except OSError as error:
        return FolderError(f"{needed}: the folder cannot be read: {error.strerror}", path)
    if not inside:
        return FolderError(f"{needed}: the folder is empty", path, missing=True)
    layout = _layout(path, inside)
    if layout is None:  # callers must not learn the names of other files
        return FolderError(f"{needed}: it has none", path, detail=f", it has {', '.join(inside[:SHOWN])}")
    return FolderError(f"{needed}: {layout}", path)


def _layout(path: Path, inside: list[str]) -> str | None:
    if INDEX in inside:
        return "it cannot be read"
    if _is_original(path, inside):
        take = f"take {_repository(path, inside)}"
        return f"this is Wan's original layout, which is not read as a whole: {take}, or {AS_PARTS} over it"
    for name in inside:
        if os.path.isfile(path / name / INDEX):
            return f"it has none, its folder {name} has: name that one"
    if gguf := [name for name in inside if name.endswith(".gguf")]:
        return f"it has none, but GGUF ({gguf[0]}): {_as_part(path / gguf[0])}"
    if single := [name for name in inside if name.endswith(".safetensors")]:
        return f"it has none, but a single file ({single[0]}): {_as_part(path / single[0])}"
    return None


def _as_part(file: Path) -> str:
    """Return the advice for a single file, with base repositories if known."""
    found: tuple[Family, ...] = ()
    with suppress(FolderError):
        found = alike(shapes_of(SingleFile("transformer", (file,)).read()))
    bases = " or ".join(family.source for family in found) or "its model in the diffusers layout"
    return f"name it under `parts` of an entry whose source is {bases}"


def _is_original(path: Path, inside: list[str]) -> bool:
    names = set(inside)
    return (
        _config(path).get("_class_name") == "WanModel"
        or any(name in names for name in EXPERTS)
        or any(name.startswith(("Wan2.1_VAE", "Wan2.2_VAE", "models_t5_umt5")) for name in inside)
    )


def _repository(path: Path, inside: list[str]) -> str:
    expert = next((name for name in EXPERTS if name in inside), "")
    config = _config(path / expert)
    modality, width = KINDS.get(str(config.get("model_type"))), config.get("dim")
    for family in FAMILIES:
        same = family.modality is modality and family.inner_dim == width and family.experts == (2 if expert else 1)
        if same and family.repo:
            return f"{family.repo} ('framegate pull {family.repo}')"
    return "the repository whose name ends in -Diffusers"


def _config(folder: Path) -> dict[str, Any]:
    with suppress(FolderError):
        return read_json(folder / "config.json", "config.json")
    return {}
