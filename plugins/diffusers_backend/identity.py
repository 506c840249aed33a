"""When two folders hold the same part: the value under which a pool may share it."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path

# who saved the files, and in which format they are read by default: the part is the same
IRRELEVANT = ("_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype")


def of_folder(folder: Path) -> Hashable:
    """Return a value that is equal for two folders only if they hold the same part."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.endswith(".index.json"))
    return tuple(sorted((path.name, _of_file(path)) for path in files))


def _of_file(path: Path) -> tuple[str, int, int]:
    """Return a configuration's content, or where the bytes are.

    In the hub's cache a file is named for its digest, which is the same in every repository that has it.
    """
    if path.name == "config.json":
        return _content(path), 0, 0
    real = path.resolve()
    if real.parent.name == "blobs":
        return real.name, 0, 0
    stat = real.stat()
    return str(real), stat.st_size, stat.st_mtime_ns


def _content(path: Path) -> str:
    config = json.loads(path.read_bytes())
    return json.dumps({key: value for key, value in config.items() if key not in IRRELEVANT}, sort_keys=True)
