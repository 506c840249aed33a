"""The download lock, held by one process per machine, with its progress inside.

The kernel releases the lock with its process, so progress in a free lock is a dead process's.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

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


@contextmanager
def hold(repo: str) -> Iterator[Callable[[DownloadProgress], None]]:
    """Wait for the lock of `repo`, hold it, and yield its progress writer."""
    path = cache_paths.lock(repo)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(path, 0o664) as file:
        write = partial(_write, file)
        write(DownloadProgress(0, 0, 0))
        yield write


def _write(file: int, progress: DownloadProgress) -> None:
    text = f"{progress.done} {progress.total} {progress.moved}\n".encode()
    os.pwrite(file, text, 0)
    os.ftruncate(file, len(text))


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
