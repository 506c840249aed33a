"""Files that everybody may write: whoever can change what a server runs or reads can have it do what they like."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path


def around(paths: Iterable[Path]) -> list[Path]:
    """Return those of `paths` that are there, each with its folder and all that is below it."""
    return [each for path in paths if os.path.exists(path) for each in (path.parent, path, *_below(path))]


def open_to_all(path: Path) -> bool:
    """Say whether everybody may write here; in a folder with the sticky bit, such as /tmp, only what is theirs."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # gone this moment, or not even ours to look at
    return bool(mode & stat.S_IWOTH and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX))


def listed(paths: list[Path]) -> str:
    """Name the first three of `paths`, and say how many more there are."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more


def _below(path: Path) -> list[Path]:
    """Return the files of a folder and those below it; links that lead nowhere are left out."""
    return [each for each in path.rglob("*") if os.path.exists(each)] if path.is_dir() else []
