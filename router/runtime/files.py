"""Files and folders of the data folder: closed to strangers, and named so that a power cut keeps them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700


def opener(mode: int) -> Callable[[str, int], int]:
    """Return an `opener` for `open`; the files that it makes have no permissions but these."""
    return lambda path, flags: os.open(path, flags, mode)


private = opener(PRIVATE)


def make_folder(path: Path, mode: int = PRIVATE_FOLDER) -> None:
    """Make a folder, if it is missing, and those above it; a power cut keeps them."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(mode)
    except FileExistsError:
        if not path.is_dir():
            raise
    sync_folder(path.parent)  # also where another process was faster: it may not have come to this yet


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to its disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system whose folders know no such thing
            raise
    finally:
        os.close(number)


def publish(part: Path, path: Path, root: Path, mode: int = PRIVATE) -> Path:
    """Rename a whole file into place so that it survives a power cut, with each folder below `root`.

    The name of `root` itself is durable already. Of the file's permissions stay those that are in `mode`.
    """
    with open(part, "rb") as file:
        os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(file.fileno()).st_mode) & mode)
        os.fsync(file.fileno())
    part.replace(path)
    for folder in path.parents[: len(path.relative_to(root).parts)]:
        sync_folder(folder)
    return path
