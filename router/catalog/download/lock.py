"""The download lock, held by one process per machine, with its progress inside.

The kernel releases the lock with its process, so progress in a free lock is a dead process's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from router.catalog.download import cache_paths
from router.runtime import locks


@dataclass(frozen=True)
class DownloadProgress:
    """Progress of a download: `done` of `total` bytes; `moved` grows with any activity."""

    done: int
    total: int
    moved: int

    @property
    def percent(self) -> int:
        return 100 * self.done // max(self.total, 1)


class DownloadLock:
    """The lock file of the downloading process."""

    def __init__(self, file: int) -> None:
        self._file = file

    def write(self, progress: DownloadProgress) -> None:
        """Write the download's progress."""
        text = f"{progress.done} {progress.total} {progress.moved}\n".encode()
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))


@contextmanager
def hold(repo: str) -> Iterator[DownloadLock]:
    """Wait for the download lock of `repo` and hold it while the block runs."""
    path = cache_paths.lock(repo)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(path, 0o664) as file:
        lock = DownloadLock(file)
        lock.write(DownloadProgress(0, 0, 0))
        yield lock


def fetching(repo: str) -> DownloadProgress | None:
    """Return the progress of the process that downloads `repo`, or None."""
    try:
        with open(cache_paths.lock(repo)) as file:
            if locks.is_free(file.fileno()):
                return None
            done, total, moved = (int(word) for word in file.readline().split())
    except (OSError, ValueError):  # never downloaded, or just begun
        return None
    return DownloadProgress(done, total, moved)
