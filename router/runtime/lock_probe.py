"""A test of a file system's locks, with two handles on one file."""

import errno
import fcntl
import os
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from router.errors import BootError
from router.runtime.files import make_folder

ADVICE = "put the data folder on a local disk"
NEAR, FAR = 2**30, 2**62  # SQLite locks bytes at 2^30; those of waiting requests are up to 2^60
_FLOCK = struct.Struct("hhqqi4x")  # a `struct flock` of 64-bit Linux: type, whence, start, len, pid


class Locks:
    """The two kinds of locks of engines, web processes and SQLite.

    Each raises `BlockingIOError` if another handle has the lock.
    """

    def whole(self, file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def byte(self, at: int, file: int) -> None:
        """Lock a byte as SQLite does."""
        # of the handle, not of the process, so that one process can try two; a file system treats both alike
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0))


def problem(folder: Path, locks: Locks | None = None) -> str | None:
    """Describe what is wrong with locks in `folder`; None if they hold."""
    kernel = locks or Locks()
    with tempfile.TemporaryFile(dir=folder) as first, open(f"/proc/self/fd/{first.fileno()}", "r+b") as second:
        tries: dict[str, Callable[[int], None]] = {
            "flock": kernel.whole,
            "fcntl": partial(kernel.byte, FAR),
            "SQLite's": partial(kernel.byte, NEAR),
        }
        for kind, lock in tries.items():
            is_held = False
            try:
                lock(first.fileno())
                is_held = True
                lock(second.fileno())
            except OSError as error:
                if not is_held or error.errno not in (errno.EAGAIN, errno.EACCES):
                    return f"{kind} locks fail there: {error.strerror or error}"
            else:
                return f"two processes would get the same {kind} lock there"
    return None


def require(folder: Path, locks: Locks | None = None) -> None:
    """Raise `BootError` if locks in `folder` cannot keep processes apart."""
    with suppress(OSError):  # the store reports a folder that cannot be written
        make_folder(folder)
        found = problem(folder, locks)
        if found:
            raise BootError(f"{folder} is on a file system whose locks cannot be relied on: {found}; {ADVICE}")
