"""The adapters and the roundings in a written folder's weights; without heavy libraries."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from registry import ModelSpec
from registry.folders import FolderError
from registry.folders.files import read_json
from registry.source import is_folder

FILE = "adapters.json"  # beside model_index.json
ADAPTERS, ROUNDED = "adapters", "rounded"
NONE: Mapping[str, Sequence[str]] = MappingProxyType({})
KEPT = 256  # folders


def write(
    folder: Path, adapters: Mapping[str, tuple[float, float]], rounded: Mapping[str, Sequence[str]] = NONE
) -> None:
    """Add merged adapters with their strengths, and former formats of weights by part."""
    before = _read(folder / FILE)
    both = {**_mapping(before, ADAPTERS), **adapters}
    parts = {**_mapping(before, ROUNDED), **{part: list(formats) for part, formats in rounded.items()}}
    found = {key: value for key, value in ((ADAPTERS, both), (ROUNDED, parts)) if value}
    if found:
        (folder / FILE).write_text(json.dumps(found, indent=2) + "\n")


def merged_in(model: ModelSpec) -> tuple[str, ...]:
    """Return the names of the adapters in the weights of a local folder."""
    return tuple(_mapping(_known(model), ADAPTERS))


def rounded_in(model: ModelSpec) -> dict[str, tuple[str, ...]]:
    """Return the formats in which the weights of a local folder were before, by part."""
    found = _mapping(_known(model), ROUNDED)
    return {part: tuple(map(str, formats)) for part, formats in found.items() if isinstance(formats, list)}


def _known(model: ModelSpec) -> Mapping[str, Any]:
    if model.source is None or not is_folder(model.source):
        return {}
    path = Path(model.source) / FILE
    try:
        stamp = path.stat().st_mtime_ns
    except OSError:
        return {}
    return _kept(path, stamp)


@lru_cache(KEPT)
def _kept(path: Path, stamp: int) -> Mapping[str, Any]:
    return _read(path)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return read_json(path, FILE)
    except FolderError:
        return {}


def _mapping(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}
