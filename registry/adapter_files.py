"""The files of adapters on this machine, and whether they can be read."""

import os
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from registry.adapters import Adapter
from registry.errors import FolderError
from registry.folders import hub_cache
from registry.folders.files import stamp
from registry.folders.safetensors import read_header
from registry.source import is_hub_id

KEPT = 1024  # files


def folder(adapter: Adapter) -> Path | None:
    """Return the path of a source, existing or not; None before a download."""
    if is_hub_id(adapter.source):
        return _in_cache(adapter.source, adapter.revision, adapter.file_names)
    return Path(adapter.source)


def refusals(adapter: Adapter, folder: Path) -> list[FolderError]:
    """Return why files of an adapter cannot be read, one error a file."""
    errors = (_refusal(folder / file, f"the adapter {adapter.name}") for file in adapter.file_names)
    return [error.again() for error in errors if error is not None]


def _in_cache(repo: str, revision: str | None, files: Collection[str]) -> Path | None:
    """Return the snapshot of a revision, or an older one with all files."""
    newest = hub_cache.snapshot(repo, revision)
    if revision is not None or _has(newest, files):
        return newest
    # a download of other files of the repository may have moved on
    return next((each for each in hub_cache.snapshots(repo) if _has(each, files)), newest)


def _has(folder: Path | None, files: Collection[str]) -> bool:
    return folder is not None and all(os.path.exists(folder / file) for file in files)


def _refusal(path: Path, part: str) -> FolderError | None:
    try:
        now = stamp(path)
    except OSError:
        return _read(path, part)
    return _kept(path, part, now)


@lru_cache(KEPT)
def _kept(path: Path, part: str, now: tuple[int, ...]) -> FolderError | None:
    return _read(path, part)


def _read(path: Path, part: str) -> FolderError | None:
    try:
        read_header(path, part)
    except FolderError as error:
        return error.again()
    return None
