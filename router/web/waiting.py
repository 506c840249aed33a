"""Requests that wait for a job: one watcher asks the store what is new and wakes those concerned."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Event, Thread

from sqlalchemy.exc import SQLAlchemyError

from router.errors import Restarting, TooManyWaiters, UnknownJob
from router.jobs import JobStore
from router.values import Job

TICK_SECONDS = 0.003
LOOK_SECONDS = 600.0  # a waiter looks at its job this often, whatever the watcher says
log = logging.getLogger(__name__)


class Waiting:
    """At most `most` requests of this process wait, each at most `seconds`; together they cost a query a tick."""

    def __init__(self, store: JobStore, *, most: int, seconds: float) -> None:
        self._store = store
        self._most = most
        self._seconds = seconds
        self._changed = Condition()
        self._waiters: dict[str, set[Event]] = {}
        self._taken = 0
        self._since = 0
        self._draining = False
        self._thread: Thread | None = None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place among the waiting; raise `TooManyWaiters` when there is none, before a job is made."""
        if self._draining:
            raise Restarting("the server is stopping: send this request again later", headers=(("retry-after", "2"),))
        with self._changed:
            if self._taken >= self._most:
                raise TooManyWaiters(
                    f"{self._taken} requests of this process wait already, its limit is {self._most}; "
                    "send 'background': true and poll instead",
                    headers=(("retry-after", "5"),),
                )
            self._taken += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1

    def until_finished(self, job_id: str, owner: str) -> Job:
        """Return the job once it has finished, or as it is after the longest wait.

        Raises `UnknownJob` if it is deleted meanwhile, `Restarting` if this process stops first.
        """
        deadline = time.monotonic() + self._seconds
        with self._watch(job_id) as changed:
            while True:
                changed.clear()
                job = self._store.get(job_id, owner)
                if job is None:
                    raise UnknownJob(f"the response resp_{job_id} was deleted while this request waited for it")
                if job.status.finished:
                    return job
                if self._draining:
                    raise _restarting(job_id)
                left = deadline - time.monotonic()
                if left <= 0:
                    return job
                changed.wait(min(left, LOOK_SECONDS))

    def drain(self) -> None:
        """Answer everybody who waits: this process stops. Safe to call from a signal handler's thread."""
        self._draining = True
        self._wake_all()

    def _wake_all(self) -> None:
        for events in list(self._waiters.values()):
            for event in list(events):
                event.set()

    @contextmanager
    def _watch(self, job_id: str) -> Iterator[Event]:
        event = Event()
        with self._changed:
            if not self._waiters:
                self._since = self._store.newest()  # before the caller looks at its job: nothing is missed
            self._waiters.setdefault(job_id, set()).add(event)
            self._start()
            self._changed.notify()
        try:
            yield event
        finally:
            with self._changed:
                self._waiters[job_id].discard(event)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._run, name="watcher", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        pulse, before = self._store.pulse(), -1
        self._wake_all()  # where this is not the first watcher, its forerunner may have missed something
        while True:
            with self._changed:
                while not self._waiters:
                    self._changed.wait()
            time.sleep(TICK_SECONDS)
            if (now := pulse()) == before:
                continue
            before = now
            try:
                self._tick()
            except SQLAlchemyError:
                log.exception("the store did not answer; asking again")
                time.sleep(1)
                self._wake_all()

    def _tick(self) -> None:
        with self._changed:
            since = self._since
        newest, jobs = self._store.changes(since)
        with self._changed:
            self._since = max(self._since, newest)
            for job_id in jobs:
                for event in self._waiters.get(job_id, ()):
                    event.set()


def _restarting(job_id: str) -> Restarting:
    return Restarting(
        f"the server is stopping; the job goes on at its next start: GET /v1/responses/resp_{job_id}",
        headers=(("x-should-retry", "false"),),
    )
