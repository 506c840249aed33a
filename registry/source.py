"""Sources of weights in their one spelling, and the folders behind them."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from registry import part_files
from registry.backends import BackendInfo
from registry.families import EMBEDDED, FAMILIES, find
from registry.folders import INDEX, FolderError, ModelFolder, absent, hub_cache, read
from registry.parts import NO_FILES, PartFiles

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


def is_hub_id(source: str | None) -> bool:
    """Return whether `source` is `OWNER/NAME` on the hub."""
    return source is not None and _HUB_ID.fullmatch(source) is not None


def public(source: str | None) -> str | None:
    """Return a source for callers, of a folder or a file its name only."""
    if source is None or is_hub_id(source) or source.startswith(EMBEDDED):
        return source
    return source.rpartition("/")[2]


def is_folder(source: str) -> bool:
    """Return whether `source` starts as a folder: `./`, `../`, `/` or `~`."""
    return source.startswith((".", "/", "~"))


def resolve(source: str, base: Path) -> str:
    """Return `source` with an absolute folder, or the official spelling of a hub id.

    Raises `ValueError` with the allowed forms. Links stay unresolved, so that a folder can be swapped behind one.
    """
    if is_folder(source):
        return os.path.abspath(base / os.path.expanduser(source))
    family = find(source)
    if source.startswith(EMBEDDED) and family is None:
        known = ", ".join(family.source for family in FAMILIES if family.repo is None)
        raise ValueError(f"must be one of {known}, got {source}")
    if not source.startswith(EMBEDDED) and not is_hub_id(source):
        raise ValueError(f"must be OWNER/NAME on the hub, a folder (./, ../, / or ~) or {EMBEDDED}NAME, got {source}")
    return family.source if family else source


def weights_folder(
    source: str,
    revision: str | None,
    backend: BackendInfo,
    backends: Iterable[BackendInfo],
    modality_known: bool,
    parts: PartFiles = NO_FILES,
) -> ModelFolder | FolderError | None:
    """Read a source's folder with the files of `parts`; None if files may arrive."""
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
        return read(path, part_files.paths(parts))
    except FolderError as error:
        of_folder = remote and part_files.part_of(error, parts) is None
        arrives = error.missing if of_folder else part_files.may_arrive(error, parts)
        if arrives and modality_known:
            return None
        if arrives and not of_folder:
            reason = f"{error.reason}: fetch it with 'framegate pull', or write the modality that the model has"
            return FolderError(reason, error.path, missing=True)
        return error


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
