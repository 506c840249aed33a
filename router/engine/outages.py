"""Outages of a shared store, which end no job."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from router.errors import is_outage
from router.jobs import JobStore
from router.values import Artifact, Failure, Job, Lease, Status, Usage

AGAIN_SECONDS = 0.25
Answer = TypeVar("Answer")


@contextmanager
def tolerated() -> Iterator[None]:
    """Leave the block at an outage."""
    try:
        yield
    except SQLAlchemyError as error:
        if not is_outage(error):
            raise


def outlast(ask: Callable[[], Answer], beat: Callable[[], None]) -> Answer:
    """Ask the store until it answers, with a beat before each further try."""
    while True:
        try:
            return ask()
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
        beat()
        time.sleep(AGAIN_SECONDS)


@dataclass(frozen=True)
class JobEnd:
    """Stores the end of an attempt, and goes on through outages.

    Each method returns what that of the `JobStore` does. A connection may be lost between a commit and its answer: the
    next try then finds the job as the first one has left it.
    """

    jobs: JobStore
    lease: Lease
    beat: Callable[[], None]

    def finish(self, artifact: Artifact, warnings: tuple[str, ...], used: Usage) -> Job | None:
        def is_done(job: Job) -> bool:
            return job.status is Status.COMPLETED and job.artifact == artifact

        return self._store(lambda: self.jobs.finish(self.lease, artifact, warnings, used), is_done)

    def fail(self, failure: Failure, used: Usage, cause: str | None) -> Job | None:
        def is_done(job: Job) -> bool:
            return job.status is Status.FAILED and job.failure == failure

        return self._store(lambda: self.jobs.fail(self.lease, failure, used, cause), is_done)

    def book(self, used: Usage) -> None:
        outlast(lambda: self.jobs.book(self.lease, used), self.beat)

    def _store(self, end: Callable[[], Job | None], is_done: Callable[[Job], bool]) -> Job | None:
        tries = 0

        def ask() -> Job | None:
            nonlocal tries
            tries += 1
            return end() or (self._ended(is_done) if tries > 1 else None)

        return outlast(ask, self.beat)

    def _ended(self, is_done: Callable[[Job], bool]) -> Job | None:
        """Return the job if an earlier try has ended it."""
        job = self.jobs.get(self.lease.job, None)
        return job if job is not None and job.attempt == self.lease.attempt and is_done(job) else None
