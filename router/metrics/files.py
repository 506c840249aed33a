"""Files of numbers that their process maps and every other reads, in the format of prometheus_client."""

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

ROOM = 64 * 2**10  # bytes of a new file
MARGIN = 16 * 2**10  # more than one histogram with its labels takes


class File:
    """Numbers by key, of one writer; its room is allocated before it is used, as a hole on a full disk is a SIGBUS."""

    def __init__(self, path: Path) -> None:
        if not whole(path):
            path.unlink(missing_ok=True)  # a machine that lost power may leave it so
        self._file = open(path, "ab+", opener=private)  # noqa: SIM115
        self._room = max(ROOM, path.stat().st_size)
        os.posix_fallocate(self._file.fileno(), 0, self._room)
        self._numbers = MmapedDict(str(path))

    def begin(self, keys: Iterable[str]) -> None:
        """Enter the keys that are not there yet, with 0; raise `OSError` where there is no room."""
        used = int.from_bytes(os.pread(self._file.fileno(), 4, 0), sys.byteorder)
        if used + MARGIN > self._room:
            os.posix_fallocate(self._file.fileno(), 0, 2 * self._room)  # as far as MmapedDict will go
            self._room *= 2
        for key in keys:
            self._numbers.read_value(key)

    def add(self, key: str, amount: float) -> None:
        number, _ = self._numbers.read_value(key)
        self._numbers.write_value(key, number + amount, 0.0)

    def close(self) -> None:
        self._numbers.close()
        self._file.close()


def whole(path: Path) -> bool:
    """Say whether a file can be read to its end."""
    try:
        for key, *_ in MmapedDict.read_all_values_from_file(path):
            json.loads(key)
    except (OSError, RuntimeError, ValueError, struct.error):
        return False
    return True


def free(folder: Path) -> tuple[int, IO[str]]:
    """Return the lowest number that nobody holds, and its lock, which holds it until it is closed."""
    for number in count(1):
        lock = open(folder / f"{number}.lock", "a", opener=private)  # noqa: SIM115
        if locks.acquire(lock.fileno()):
            return number, lock
        lock.close()
    raise AssertionError("there is always another number")
