"""The paths of part files on this machine, and the reasons against them."""

from collections.abc import Mapping
from pathlib import Path

from registry.errors import FolderError
from registry.folders import hub_cache, single_file
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


def refusal(part: str, file: PartFile) -> FolderError | None:
    """Return why the file of a part cannot be read, None if it can."""
    try:
        single_file.stored(path(file), part)
    except FolderError as error:
        return error.again()
    return None


def may_arrive(error: FolderError, files: PartFiles) -> bool:
    """Return whether an error is of a file that a download may bring."""
    return error.missing and any(file.file and error.path == path(file) for file in files.values())


def part_of(error: FolderError, files: PartFiles) -> str | None:
    """Return the part whose file has an error, None if the folder has it."""
    return next((part for part, file in files.items() if error.path == path(file)), None)
