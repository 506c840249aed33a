"""Waiting requests: one thread watches the store and wakes them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from threading import Condition, Semaphore, Thread
from typing import NoReturn

from router.errors import Restarting, TooManyWaiters
from router.jobs import JobStore
from router.runtime.threads import log_and_go_on
from router.values import Job
from router.web.waiting.disconnects import DisconnectMonitor
from router.web.waiting.watch import Watch

TICK_SECONDS = 0.003


class Waiters:
    """At most `limit` waiting requests of this process, each for at most `seconds`."""

    # together they cost at most one query a tick

    def __init__(self, store: JobStore, disconnects: DisconnectMonitor, *, limit: int, seconds: float) -> None:
        self._store = store
        self._disconnects = disconnects
        self._limit = limit
        self._slots = Semaphore(limit)
        self._seconds = seconds
        self._changed = Condition()
        self._waiters: dict[str, set[Watch]] = {}
        self._since = 0
        self.draining = False
        self._thread: Thread | None = None

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot for a waiting request; raise `TooManyWaiters` without a free one."""
        if self.draining:
            raise Restarting("the server is stopping: send this request again later", headers=(("retry-after", "1"),))
        if not self._slots.acquire(blocking=False):
            raise TooManyWaiters(
                f"{self._limit} requests of this process wait for a video or download one already, its limit is "
                f"{self._limit}; try again later, or poll a job: POST /v1/videos answers at once, as does "
                "/v1/responses with 'background': true"
            )
        try:
            yield
        finally:
            self._slots.release()

    @contextmanager
    def watch(self, job: Job, connection: socket | None) -> Iterator[Watch]:
        """Watch a job and its client's connection for one request."""
        ids = (job.id, *job.presentation.siblings)
        watch = Watch(job, self._store, seconds=self._seconds, stopping=lambda: self.draining)
        with self._changed:
            if not self._waiters:
                self._since = self._store.newest()  # before the request reads its job, so that no change is missed
            for each in ids:
                self._waiters.setdefault(each, set()).add(watch)
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._run, name="watcher", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            with self._disconnects.attended(watch, connection):
                yield watch
        finally:
            with self._changed:
                for each in ids:
                    self._waiters[each].discard(watch)
                    if not self._waiters[each]:
                        del self._waiters[each]

    def drain(self) -> None:
        """End every wait: this process stops."""
        self.draining = True
        self._disconnects.drain()
        self._wake_all()

    def _wake_all(self) -> None:
        for watches in list(self._waiters.values()):
            for watch in list(watches):
                watch.wake()

    def _run(self) -> None:
        while True:
            with log_and_go_on("the watcher of jobs"):
                self._watch_store()

    def _watch_store(self) -> NoReturn:
        pulse, before = self._store.pulse(), -1
        self._wake_all()  # the watcher before an error may have missed changes
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiters)
            time.sleep(TICK_SECONDS)
            if (now := pulse()) != before:
                before = now
                self._tick()

    def _tick(self) -> None:
        with self._changed:
            since = self._since
        newest, jobs = self._store.changes(since)
        with self._changed:
            self._since = max(self._since, newest)
            for job_id in jobs:
                for watch in self._waiters.get(job_id, ()):
                    watch.wake()
