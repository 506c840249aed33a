"""The formats of weights in codes in a model's files; without heavy libraries."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from plugins.wan.weights.device_format import FP8, INT8
from registry import ModelSpec, folders, part_files
from registry.folders import FolderError, Weights, hub_cache
from registry.folders.dtypes import is_quantised
from registry.folders.model import Part
from registry.source import is_folder, is_hub_id

KEPT = 256  # parts
WORDS = {"F8_E4M3": FP8, "F8_E5M2": "fp8 (e5m2)", "I8": INT8}


def codes_in(model: ModelSpec) -> dict[str, tuple[str, ...]]:
    """Return the formats of weights in codes by part; none for absent files."""
    folder = _folder(model)
    if folder is None:
        return {}
    try:
        return codes_of(folders.read(folder, part_files.paths(model.parts)).parts)
    except (FolderError, OSError):
        return {}  # loading will report the error


def codes_of(parts: Mapping[str, Part]) -> dict[str, tuple[str, ...]]:
    """Return the formats of weights in codes by part; raises `FolderError`, `OSError`."""
    found = {name: _formats(part.weights, part.weights.stamps) for name, part in parts.items() if part.weights}
    return {name: formats for name, formats in found.items() if formats}


def _folder(model: ModelSpec) -> Path | None:
    if model.source is None:
        return None
    if is_hub_id(model.source):
        return hub_cache.snapshot(model.source, model.revision)
    return Path(model.source) if is_folder(model.source) else None


@lru_cache(KEPT)
def _formats(weights: Weights, stamps: tuple[tuple[int, ...], ...]) -> tuple[str, ...]:
    found = {tensor.dtype for tensor in weights.read().values() if is_quantised(tensor.dtype)}
    return tuple(WORDS.get(dtype, dtype) for dtype in sorted(found))
