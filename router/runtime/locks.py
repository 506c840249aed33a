"""File locks between processes: the kernel frees a lock when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.runtime.files import PRIVATE

# `filelock` polls where flock queues, has no byte ranges, and hides the file in which a holder notes its progress.


@contextmanager
def exclusive(path: Path, mode: int = PRIVATE) -> Iterator[int]:
    """Hold the lock of `path` for the block, and yield its open file."""
    with _opened(path, mode) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


@contextmanager
def exclusive_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock of `path` for the block if it is free; yield whether."""
    with _opened(path, PRIVATE) as file:
        yield acquire(file)


def acquire(file: int) -> bool:
    """Lock an open file until its close; return False if another handle holds it."""
    return _try(file, fcntl.LOCK_EX)


def is_free(file: int) -> bool:
    """Say whether no other handle holds the lock of an open file exclusively."""
    return _try(file, fcntl.LOCK_SH)


@contextmanager
def exclusive_bytes(file: int, start: int, size: int) -> Iterator[None]:
    """Wait for a range of an open file, and hold it for the block."""
    # a lock of a range is the process's: its threads need a lock of their own
    fcntl.lockf(file, fcntl.LOCK_EX, size, start)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, size, start)


def share_byte(file: int, at: int) -> None:
    """Hold one byte of an open file together with other processes."""
    fcntl.lockf(file, fcntl.LOCK_SH, 1, at)


def release_byte(file: int, at: int) -> None:
    fcntl.lockf(file, fcntl.LOCK_UN, 1, at)


def is_byte_free(file: int, at: int) -> bool:
    """Say whether no other process holds a byte that this one does not hold."""
    # exclusively: of several processes that release it and ask at once, the last is sure to get it
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
    except OSError:
        return False
    release_byte(file, at)
    return True


@contextmanager
def _opened(path: Path, mode: int) -> Iterator[int]:
    # the file stays: if it were removed, its waiters and those who make it anew would lock two files
    file = os.open(path, os.O_RDWR | os.O_CREAT, mode)
    try:
        yield file
    finally:
        os.close(file)


def _try(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
