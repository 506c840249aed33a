"""The turn to fetch a repository: a lock that one process of the machine holds, with its progress written in it.

The lock goes with its process, whatever ends that, so progress that nobody holds is that of a dead one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from router.catalog.download import cache_paths
from router.runtime import locks


@dataclass(frozen=True)
class Fetching:
    """How far a download is: `done` of `total` bytes are here; `moved` grows as long as anything happens."""

    done: int
    total: int
    moved: int

    @property
    def percent(self) -> int:
        return 100 * self.done // max(self.total, 1)


class Turn:
    """Held by the process that fetches."""

    def __init__(self, file: int) -> None:
        self._file = file

    def tell(self, fetching: Fetching) -> None:
        """Write down how far the download is."""
        text = f"{fetching.done} {fetching.total} {fetching.moved}\n".encode()
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))


@contextmanager
def hold(repo: str) -> Iterator[Turn]:
    """Wait for the turn to fetch `repo` and hold it while the block runs."""
    path = cache_paths.lock(repo)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(path, 0o664) as file:
        turn = Turn(file)
        turn.tell(Fetching(0, 0, 0))
        yield turn


def fetching(repo: str) -> Fetching | None:
    """Return how far the process is that fetches `repo`, None where no process of this machine does."""
    try:
        with open(cache_paths.lock(repo)) as file:
            if locks.is_free(file.fileno()):
                return None
            done, total, moved = (int(word) for word in file.readline().split())
    except (OSError, ValueError):  # nobody has ever fetched it, or has just begun to
        return None
    return Fetching(done, total, moved)
