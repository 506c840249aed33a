"""Whether the locks of a file system hold: two handles on one file are tried against each other."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from router.errors import BootError
from router.runtime.files import make_folder

ADVICE = "put the data folder on a local disk"
NEAR, FAR = 2**30, 2**62  # the bytes that stand for jobs are as far out as this; SQLite's are at 2^30
_FLOCK = struct.Struct("hhqqi4x")  # a `struct flock` of 64-bit Linux: type, whence, start, len, pid


class Locks(Protocol):
    """How a file is locked; each raises `BlockingIOError` where another handle has it."""

    def whole(self, file: int) -> None: ...
    def byte(self, at: int, file: int) -> None: ...


class KernelLocks:
    """The two kinds of locks that engines, web processes and SQLite use."""

    def whole(self, file: int) -> None:
        """Lock a file as the engines lock their device."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def byte(self, at: int, file: int) -> None:
        """Lock a byte as SQLite does.

        The lock is the handle's and not the process's, so that one process can try two of them; a file system
        is asked for both in the same way.
        """
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0))


def problem(folder: Path, locks: Locks | None = None) -> str | None:
    """Say what is wrong with locks in `folder`, None where they hold. Leaves no file behind."""
    kernel = locks or KernelLocks()
    with tempfile.TemporaryFile(dir=folder) as first, open(f"/proc/self/fd/{first.fileno()}", "r+b") as second:
        tries: dict[str, Callable[[int], None]] = {
            "flock": kernel.whole,
            "fcntl": partial(kernel.byte, FAR),
            "SQLite's": partial(kernel.byte, NEAR),
        }
        for kind, lock in tries.items():
            try:
                lock(first.fileno())
            except OSError as error:
                return f"{kind} locks fail there: {error.strerror or error}"
            try:
                lock(second.fileno())
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EACCES):
                    continue
                return f"{kind} locks fail there: {error.strerror or error}"
            return f"two processes would get the same {kind} lock there"
    return None


def require(folder: Path, locks: Locks | None = None) -> None:
    """Raise `BootError` where two processes could do the same job, as their locks do not hold."""
    with suppress(OSError):  # who cannot write there hears so from the store
        make_folder(folder)
        found = problem(folder, locks)
        if found:
            raise BootError(f"{folder} is on a file system whose locks cannot be relied on: {found}; {ADVICE}")
