"""The adapters that an export has merged into a folder's weights; without heavy libraries."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from registry import ModelSpec
from registry.folders import FolderError
from registry.folders.files import read_json
from registry.source import is_folder

FILE = "adapters.json"  # beside model_index.json
KEPT = 256  # folders


def write(folder: Path, adapters: Mapping[str, tuple[float, float]]) -> None:
    """Add the names and strengths of merged adapters; write nothing without any."""
    if adapters:
        both = {**_read(folder / FILE), **adapters}
        (folder / FILE).write_text(json.dumps({"adapters": both}, indent=2) + "\n")


def merged_in(model: ModelSpec) -> tuple[str, ...]:
    """Return the names of the adapters in the weights of a local folder."""
    if model.source is None or not is_folder(model.source):
        return ()
    path = Path(model.source) / FILE
    try:
        stamp = path.stat().st_mtime_ns
    except OSError:
        return ()
    return _names(path, stamp)


@lru_cache(KEPT)
def _names(path: Path, stamp: int) -> tuple[str, ...]:
    return tuple(_read(path))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = read_json(path, FILE).get("adapters")
    except FolderError:
        return {}
    return found if isinstance(found, dict) else {}
