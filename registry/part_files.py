"""The paths of part files on this machine."""

from collections.abc import Mapping
from pathlib import Path

from registry.folders import hub_cache
from registry.parts import PartFile, PartFiles


def path(file: PartFile) -> Path:
    """Return the path of a file, existing or not."""
    if not file.file:
        return Path(file.source)
    folder = hub_cache.holding(file.source, file.revision, (file.file,))
    return (folder or hub_cache.newest(file.source)) / file.file


def paths(files: PartFiles) -> Mapping[str, Path]:
    """Return the path of each part's file."""
    # all of them: a part without its file must not be read from the folder
    return {part: path(file) for part, file in files.items()}
