"""The files of replaced parts: on this machine, or in the hub's cache."""

import os
from collections.abc import Callable
from pathlib import Path

from registry import ModelSpec, folders, part_files
from registry.folders import FolderError
from registry.parts import PartFile, PartFiles
from registry.source import is_hub_id
from router.catalog.download import Selection, snapshot


def is_here(file: PartFile) -> bool:
    """Return whether a file is on this machine, whole or not."""
    return os.path.exists(part_files.path(file))


def repositories(model: ModelSpec) -> tuple[str, ...]:
    """Return the repositories of the hub that have weights of a model."""
    sources = (model.source or "", *(file.source for file in model.parts.values()))
    return tuple(dict.fromkeys(source for source in sources if is_hub_id(source)))


def may_arrive(folder: Path, files: PartFiles) -> bool:
    """Return whether a local folder lacks nothing but files of the hub."""
    try:
        folders.read(folder, part_files.paths(files))
    except FolderError as error:
        return part_files.may_arrive(error, files)
    return True


def obtain(files: PartFiles, report: Callable[[int, int], None], stall_seconds: float) -> None:
    """Download the files that are not whole.

    Raises `DownloadFailed`, `DiskFull`. The base comes later: of two downloads of one repository the last one's
    snapshot is its newest, and a file is found in an older one too.
    """
    for part, file in files.items():
        error = part_files.refusal(part, file) if file.file else None
        if error is not None and error.missing:
            snapshot(file.source, file.revision, report, stall_seconds, Selection((file.file,)))
