"""The files of adapters on this machine, and whether they can be read."""

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
        return hub_cache.holding(adapter.source, adapter.revision, adapter.file_names)
    return Path(adapter.source)


def refusals(adapter: Adapter, folder: Path) -> list[FolderError]:
    """Return why files of an adapter cannot be read, one error a file."""
    errors = (_refusal(folder / file, f"the adapter {adapter.name}") for file in adapter.file_names)
    return [error.again() for error in errors if error is not None]


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
