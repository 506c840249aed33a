"""The paths of part files on this machine."""

from collections.abc import Mapping
from pathlib import Path

from registry.folders import hub_cache
from registry.parts import PartFile, PartFiles


def path(file: PartFile) -> Path | None:
    """Return the path of a file, existing or not; None before a download."""
    if not file.file:
        return Path(file.source)
    folder = hub_cache.holding(file.source, file.revision, (file.file,))
    return folder / file.file if folder else None


def paths(files: PartFiles) -> Mapping[str, Path]:
    """Return the files that have a path, by part."""
    return {part: found for part, file in files.items() if (found := path(file)) is not None}
