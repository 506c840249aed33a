"""The folder of weights behind an entry, and why it cannot be served."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from registry.backends import BackendInfo
from registry.folders import INDEX, FolderError, ModelFolder, absent, hub_cache, read
from registry.source import is_hub_id


def weights_folder(
    source: str, revision: str | None, backend: BackendInfo, backends: Iterable[BackendInfo], modality_known: bool
) -> ModelFolder | FolderError | None:
    """Read the folder of a source; None if its files may still arrive."""
    # an absent or partial folder is no error if the entry itself names the modality
    remote = is_hub_id(source)
    path = hub_cache.snapshot(source, revision) if remote else Path(source)
    if path is None:
        advice = f"fetch it with 'framegate pull {source}', or write the modality that it has"
        reason = f"it is not a published Wan variant and not on this machine: {advice}"
        return None if modality_known else FolderError(reason, Path(source), missing=True)
    if modality_known and absent(path):
        return None
    if not os.path.exists(path / (backend.index or "")):
        return None if remote and modality_known else _unsuited(path, backend, backends, modality_known)
    if modality_known and not os.path.exists(path / INDEX):
        return None
    try:
        return read(path)
    except FolderError as error:
        return None if remote and modality_known and error.missing else error


def _unsuited(
    path: Path, backend: BackendInfo, backends: Iterable[BackendInfo], modality_known: bool
) -> ModelFolder | FolderError | None:
    """Return the error for a folder of another backend, None for `unsuited`."""
    for other in backends:
        if other.index and os.path.exists(path / other.index):
            reason = f"it holds a model of the backend {other.name} ({other.index}), not of {backend.name}"
            return None if modality_known else FolderError(reason, path)
    if backend.index != INDEX:
        reason = f"it has no {backend.index}, by which {backend.name} knows its models"
        return None if modality_known else FolderError(reason, path)
    try:
        return read(path)  # raises the reason
    except FolderError as error:
        return error
