"""A process's counters and histograms, in files with any number of readers."""

from __future__ import annotations

import json
import logging
import os
import struct
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from math import inf
from pathlib import Path
from threading import Lock
from typing import IO
from weakref import finalize

from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.utils import floatToGoString

from router.metrics.definitions import Definition, Kind
from router.runtime import locks
from router.runtime.files import make_folder, private

INITIAL_BYTES = 64 * 2**10
MARGIN = 16 * 2**10  # bytes; more than the largest histogram with its labels
log = logging.getLogger(__name__)


class Tally:
    """Counts in the first free set of files, continuing its totals.

    There are as many sets as processes at any one time. Files are opened at the first count; errors are logged.
    """

    # The kernel frees a set however its holder ends. prometheus_client would keep a set for each process id for ever,
    # and one folder for all systems of a process.

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._hold: IO[str] | None = None
        self._files: Mapping[Kind, File] = {}
        self._begun: set[tuple[str, tuple[str, ...]]] = set()

    def count(self, what: Definition, *labels: str) -> None:
        """Add one to a counter; the labels are in the order of its definition."""
        self._add(what, labels, {_key(what, labels): 1.0})

    def observe(self, what: Definition, seconds: float, *labels: str) -> None:
        bounds = (*what.buckets, inf)
        bound = floatToGoString(bounds[bisect_left(bounds, seconds)])
        self._add(what, labels, {_key(what, labels, "_sum"): seconds, _key(what, labels, "_bucket", le=bound): 1.0})

    def _add(self, what: Definition, labels: tuple[str, ...], increments: Mapping[str, float]) -> None:
        try:
            with self._lock:
                file = self._file(what, labels)
                for key, increment in increments.items():
                    file.add(key, increment)
        except OSError as error:
            log.warning("%s is not counted: %s", what.name, error)

    def _file(self, what: Definition, labels: tuple[str, ...]) -> File:
        """Return the file of a metric with these labels; the caller holds the lock."""
        if self._hold is None:
            self._open()
        if (what.name, labels) not in self._begun:
            self._files[what.kind].begin(keys(what, labels))
            self._begun.add((what.name, labels))
        return self._files[what.kind]

    def _open(self) -> None:
        make_folder(self._folder)
        number, hold = acquire_number(self._folder)
        kinds = (Kind.COUNTER, Kind.HISTOGRAM)
        self._files = {kind: File(self._folder / f"{kind}_{number}.db") for kind in kinds}
        self._hold = hold
        finalize(self, _close, *self._files.values(), hold).atexit = False


def _close(*files: File | IO[str]) -> None:
    for file in files:
        file.close()


def keys(what: Definition, labels: tuple[str, ...]) -> Iterator[str]:
    """Yield all keys of a metric with these labels, also of empty buckets."""
    if what.kind is Kind.COUNTER:
        yield _key(what, labels)
        return
    yield _key(what, labels, "_sum")
    for bound in (*what.buckets, inf):
        yield _key(what, labels, "_bucket", le=floatToGoString(bound))


def _key(what: Definition, labels: tuple[str, ...], suffix: str = "", **bound: str) -> str:
    return mmap_key(what.family, f"{what.name}{suffix}", [*what.labels, *bound], [*labels, *bound.values()], "")


class File:
    """Numbers by key in a mapped file of one process, in prometheus_client's format."""

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
