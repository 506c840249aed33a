"""One request's view of the job that it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event

from router.jobs import JobStore
from router.values import Job


class Watch:
    """The job as it was last seen, and why the wait for it ended.

    `deleted`: the job is gone. `left`: the caller is. `writing` is the moment and the size in bytes of a write
    to the caller that has not returned yet. `wake` may be called by any thread.
    """

    def __init__(self, job: Job, store: JobStore, *, seconds: float, stopping: Callable[[], bool]) -> None:
        self.job = job
        self.deleted = False
        self.left = False
        self.writing: tuple[float, int] | None = None
        self._store = store
        self._stopping = stopping
        self._deadline = time.monotonic() + seconds
        self._changed = Event()
        self.wake = self._changed.set

    def leave(self) -> None:
        """Say that the caller is gone."""
        self.left = True
        self.wake()

    def ended(self, seconds: float) -> bool:
        """Wait for up to `seconds` and say whether there is nothing left to wait for.

        That is so when the job has finished or was deleted, the caller has left, the process stops, or the
        longest wait is over.
        """
        until = time.monotonic() + seconds
        while not self._over():
            if not self._woken(until - time.monotonic()):
                return False
        return True

    def changes(self, beat: float) -> Iterator[Job | None]:
        """Yield the job as it is and after each change, None after each `beat` seconds without one.

        Whoever is slow to ask for the next misses the changes in between. The last is the one that `ended`
        would wait for.
        """
        seen = None
        while True:
            over = self._over()
            if self.job.version != seen:
                seen = self.job.version
                yield self.job
            if over:
                return
            while not self._woken(beat):
                yield None

    def _over(self) -> bool:
        self._changed.clear()
        job = self._store.get(self.job.id, self.job.owner)
        self.deleted = job is None
        self.job = job or self.job
        overdue = time.monotonic() >= self._deadline
        return self.deleted or self.job.status.finished or self.left or self._stopping() or overdue

    def _woken(self, seconds: float) -> bool:
        """Wait for a reason to look at the job; return False when there is none for so long."""
        left = self._deadline - time.monotonic()
        return self._changed.wait(max(min(seconds, left), 0)) or left <= seconds
