"""A process's counters and histograms in files."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path
from threading import Lock
from typing import IO
from weakref import finalize

from prometheus_client.mmap_dict import mmap_key
from prometheus_client.utils import floatToGoString

from router.metrics.definitions import Definition, Kind
from router.metrics.files import File, acquire_number
from router.runtime.files import make_folder

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
