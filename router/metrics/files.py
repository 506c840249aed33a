"""Files of counters in prometheus_client's format: one writer, any number of readers."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import IO

from prometheus_client.mmap_dict import MmapedDict

from router.runtime import locks
from router.runtime.files import private

INITIAL_BYTES = 64 * 2**10
MARGIN = 16 * 2**10  # bytes; more than the largest histogram with its labels


class File:
    """Numbers by key in a mapped file of one process."""

    def __init__(self, path: Path) -> None:
        if not is_whole(path):
            path.unlink(missing_ok=True)  # a power cut may damage it
        self._file = open(path, "ab+", opener=private)  # noqa: SIM115
        self._allocated = max(INITIAL_BYTES, path.stat().st_size)
        # ahead of use: a write to a hole of a mapped file ends the process with SIGBUS on a full disk
        os.posix_fallocate(self._file.fileno(), 0, self._allocated)
        self._numbers = MmapedDict(str(path))

    def begin(self, keys: Iterable[str]) -> None:
        """Add missing keys with 0; raise `OSError` on a full disk."""
        used = int.from_bytes(os.pread(self._file.fileno(), 4, 0), sys.byteorder)
        if used + MARGIN > self._allocated:
            os.posix_fallocate(self._file.fileno(), 0, 2 * self._allocated)  # MmapedDict doubles its file too
            self._allocated *= 2
        for key in keys:
            self._numbers.read_value(key)

    def add(self, key: str, increment: float) -> None:
        number, _ = self._numbers.read_value(key)
        self._numbers.write_value(key, number + increment, 0.0)

    def close(self) -> None:
        self._numbers.close()
        self._file.close()


def is_whole(path: Path) -> bool:
    """Say whether a file can be read to its end."""
    try:
        for key, *_ in MmapedDict.read_all_values_from_file(path):
            json.loads(key)
    except (OSError, RuntimeError, ValueError, struct.error):
        return False
    return True


def acquire_number(folder: Path) -> tuple[int, IO[str]]:
    """Return the lowest free number, and its lock, held until its close."""
    for number in count(1):
        lock = open(folder / f"{number}.lock", "a", opener=private)  # noqa: SIM115
        if locks.acquire(lock.fileno()):
            return number, lock
        lock.close()
    raise AssertionError("there is always another number")
