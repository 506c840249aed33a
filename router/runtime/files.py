"""Files and folders of the data folder: private, whole or absent, and durable."""

import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700


def opener(mode: int) -> Callable[[str, int], int]:
    """Return an `opener` for `open` that limits new files to the permissions in `mode`."""
    return lambda path, flags: os.open(path, flags, mode)


private = opener(PRIVATE)


def make_folder(path: Path, mode: int = PRIVATE_FOLDER) -> None:
    """Make a missing folder and its parents durably."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(mode)
    except FileExistsError:
        if not path.is_dir():
            raise
    sync_folder(path.parent)  # another process that made the folder may not have synced it yet


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to its disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # this file system cannot sync folders
            raise
    finally:
        os.close(number)


def publish(part: Path, path: Path, root: Path, mode: int = PRIVATE) -> Path:
    """Rename a finished file to `path` durably, and return `path`.

    The folders between `root` and `path` become durable too; `root` itself must be. The file keeps those of its
    permissions that are in `mode`.
    """
    with open(part, "rb") as file:
        os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(file.fileno()).st_mode) & mode)
        os.fsync(file.fileno())  # before the rename: a power cut could keep the new name and lose the bytes
    part.replace(path)
    for folder in path.parents[: len(path.relative_to(root).parts)]:
        sync_folder(folder)
    return path


def write_file(path: Path, data: bytes, *, mode: int = PRIVATE, root: Path | None = None) -> Path:
    """Write or replace a file atomically; with `root` durably, like `publish`."""
    with _part(path, data, mode) as part:
        return part.replace(path) if root is None else publish(part, path, root, mode)


def create_file(path: Path, data: bytes) -> None:
    """Write a file atomically and durably, unless it exists."""
    with _part(path, data, PRIVATE) as part:
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(part, path)  # a rename would replace the other process's file
    sync_folder(path.parent)


@contextmanager
def _part(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """Yield a new file of `data` beside `path`; remove it if not renamed."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")  # other threads and processes may write the same
    try:
        with open(part, "xb", opener=opener(mode)) as file:
            file.write(data)
        yield part
    finally:
        part.unlink(missing_ok=True)
