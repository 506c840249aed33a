"""One request's view of its awaited job."""

import time
from collections.abc import Callable, Iterator
from threading import Event

from sqlalchemy.exc import SQLAlchemyError

from router.errors import is_outage
from router.jobs import JobStore
from router.values import Job
from router.web.job_group import JobGroup

AGAIN_SECONDS = 1.0  # between two looks at a store that is out of reach


class Watch:
    """The last state of a job and its siblings, and why the wait ended.

    An outage of a shared store ends no wait.

    `deleted`: the job is gone. `left`: the client is. `writing`: the start and the
    size in bytes of an unfinished write to the client. Any thread may call `wake`.
    """

    def __init__(self, job: Job, store: JobStore, *, seconds: float, stopping: Callable[[], bool]) -> None:
        self.job = job
        self.group = JobGroup(job)
        self.deleted = False
        self.left = False
        self.writing: tuple[float, int] | None = None
        self._store = store
        self._stopping = stopping
        self._deadline = time.monotonic() + seconds
        self._is_blind = False  # for the store was out of reach at the last look
        self._changed = Event()
        self.wake = self._changed.set

    def leave(self) -> None:
        """End the wait: the client has disconnected."""
        self.left = True
        self.wake()

    def ended(self, seconds: float) -> bool:
        """Wait for up to `seconds`, and say whether the wait has ended.

        It ends when the job and its siblings have finished, the job was deleted, the client has left, the process
        stops, or the longest wait is over.
        """
        deadline = time.monotonic() + seconds
        while not self._over():
            if not self._woken(deadline - time.monotonic()):
                return False
        return True

    def changes(self, beat: float) -> Iterator[Job | None]:
        """Yield the job now and after each change; None after `beat` seconds without one.

        A slow reader misses changes in between. The last job is the one at the end of the wait.
        """
        seen = None
        while True:
            over = self._over()
            if (state := (self.job.version, self.group.finished)) != seen:
                seen = state
                yield self.group.whole
            elif self._is_blind:
                yield None
            if over:
                return
            while not self._woken(beat):
                yield None

    def _over(self) -> bool:
        self._changed.clear()
        try:
            self._look()
            self._is_blind = False
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            self._is_blind = True
        overdue = time.monotonic() >= self._deadline
        return self.deleted or self.group.finished or self.left or self._stopping() or overdue

    def _look(self) -> None:
        job = self._store.get(self.job.id, self.job.owner)
        self.deleted = job is None
        self.job = job or self.job
        self.group = JobGroup.of(self.job, self._store.get)

    def _woken(self, seconds: float) -> bool:
        """Wait for a wake-up or the deadline; return False after `seconds` without one."""
        left = self._deadline - time.monotonic()
        if self._is_blind and min(seconds, left) > AGAIN_SECONDS:
            self._changed.wait(AGAIN_SECONDS)
            return True
        return self._changed.wait(max(min(seconds, left), 0)) or left <= seconds
