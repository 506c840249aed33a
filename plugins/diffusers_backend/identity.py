"""When two folders hold the same part: the value under which a pool may share it."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from pathlib import Path

# who saved the files, and in which format they are read by default: the part is the same
IRRELEVANT = ("_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype")


def of_folder(folder: Path, digest: Callable[[Path], str]) -> Hashable:
    """Return a value that is equal for two folders only if they hold the same part; `digest` is of a file's bytes."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.endswith(".index.json"))
    return tuple(sorted((path.name, _content(path) if path.name == "config.json" else digest(path)) for path in files))


def _content(path: Path) -> str:
    config = json.loads(path.read_bytes())
    return json.dumps({key: value for key, value in config.items() if key not in IRRELEVANT}, sort_keys=True)
