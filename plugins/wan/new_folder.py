"""A new model folder, which is whole or absent."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from plugins.wan.checkpoint import Part
from registry.folders.files import PICKLES
from router import LoadFailed

DRAFT, LOCK = ".partial", ".lock"
COPY_BYTES = 16 * 2**20
HEAVY = (".safetensors", ".gguf", *PICKLES)  # endings of weights


class Progress(Protocol):
    def __call__(self, doing: str, done: int, total: int) -> None:
        """Report `done` of `total` bytes or stages of `doing`."""


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a folder to fill, which becomes `target` at the end of the block.

    Raises `LoadFailed` for a target that cannot be written; after an error or an interrupt there is no `target`.
    """
    target = target.resolve()
    require_free(target)
    try:
        with _draft(target) as draft:
            yield draft
            (draft / LOCK).unlink()
            os.sync()
            require_free(target)
            if target.exists():
                target.rmdir()
            draft.rename(target)
    except OSError as error:
        raise LoadFailed(f"{target} could not be written: {error.strerror or error}") from error


def files_in(folder: Path) -> list[str]:
    """Return the paths of all files in a draft, relative to it."""
    files = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    return [file for file in files if file != LOCK]


def copy_files(files: Iterable[Path], parts: Collection[Part], folder: Path, draft: Path, progress: Progress) -> None:
    """Copy `files` and those of `parts` to a draft, but no unread weights."""
    # byte by byte, so that the pool shares the parts; unread weights are older files beside an index of shards, say
    found = sorted(files)
    for part in parts:
        found += [path for path in sorted(part.folder.rglob("*")) if path.is_file()]
    read = {file for part in parts if part.weights for file in part.weights.files}
    found = [path for path in found if (path in read or path.suffix not in HEAVY) and draft not in path.parents]
    total, done = sum(path.stat().st_size for path in found), 0
    for path in found:
        target = draft / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        for count in _copied(path, target):
            done += count
            progress("copying what stays as it is", done, total)


def _copied(source: Path, target: Path) -> Iterator[int]:
    with source.open("rb") as read, target.open("wb") as written:
        while block := read.read(COPY_BYTES):
            written.write(block)
            yield len(block)


def require_free(target: Path) -> None:
    """Raise `LoadFailed` unless `target` is a new or empty folder."""
    if target == Path.cwd() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise LoadFailed(f"{target} must be a folder that is new or empty, it holds something")


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`; remove the drafts of killed processes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in target.parent.glob(f".{target.name}.*{DRAFT}"):
        with suppress(OSError), (path / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}{DRAFT}")  # one of tempfile would be private
    draft.mkdir()
    try:
        with (draft / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
