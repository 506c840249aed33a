"""Callers who go away: their job is cancelled, so that no device works for nobody."""

from __future__ import annotations

import logging
import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import SHUT_RDWR, socket
from threading import Condition, Thread

from sqlalchemy.exc import SQLAlchemyError

from router.errors import reason
from router.runtime.threads import log_and_go_on
from router.system import System
from router.values import Job
from router.web.waiting.presence import WaiterPresence
from router.web.waiting.watch import Watch

TICK_SECONDS = 0.25
STALLED_SECONDS = 60.0  # a reader who takes nothing for so long has left,
SLOWEST = 16 * 2**10  # but has time for what is written at this many bytes a second
DRAINED_SECONDS = 1.0  # and this long when the process stops
log = logging.getLogger(__name__)


class DisconnectMonitor:
    """Looks after the connections of those who wait, on one thread of this process.

    Somebody has left when their connection is closed, also on their side only; when a write to it fails; or
    when they read nothing for a minute. The job goes on if it was made to be kept (see `kept`), if this process
    stops, or if somebody else waits for it `seconds` later, here or in another process.
    """

    def __init__(self, system: System, *, seconds: float) -> None:
        self._system = system
        self._seconds = seconds
        self._attendance = WaiterPresence(system.settings.data / "waiting.lock")
        self._epoll = select.epoll()
        self._connections: dict[int, tuple[socket, Watch]] = {}
        self._departed: deque[tuple[float, Job]] = deque()
        self._changed = Condition()
        self._draining = False
        self._thread: Thread | None = None

    @contextmanager
    def attended(self, watch: Watch, connection: socket | None) -> Iterator[None]:
        """Look after one who waits; `connection` is None where the server does not tell."""
        job = watch.job
        if not kept(job):
            self._attendance.enter(job.id)
        number = self._follow(connection, watch) if connection is not None else -1
        try:
            yield
        finally:
            self._forget(number)
            if not kept(job):
                self._part(job, watch.left)

    def drain(self) -> None:
        """Let every job go on from now: this process stops. Safe to call from a signal handler's thread."""
        self._draining = True

    def _part(self, job: Job, left: bool) -> None:
        """Count one who waited out: at once if they have their answer, later if they left without."""
        if not left or self._draining:
            self._attendance.leave(job.id)
            return
        with self._changed:
            self._departed.append((time.monotonic() + self._seconds, job))
            self._start()

    def _follow(self, connection: socket, watch: Watch) -> int:
        number = connection.fileno()
        with self._changed:
            self._connections[number] = (connection, watch)
            self._epoll.register(number, select.EPOLLRDHUP | select.EPOLLONESHOT)
            self._start()
        return number

    def _forget(self, number: int) -> None:
        with self._changed:
            if self._connections.pop(number, None):
                with suppress(OSError):  # closed already, and so forgotten
                    self._epoll.unregister(number)

    def _start(self) -> None:
        self._changed.notify()
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._run, name="leaving", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._connections or self._departed):
                    self._changed.wait()
            with log_and_go_on("the watcher of connections"):
                self._look_around()

    def _look_around(self) -> None:
        for number, _ in self._epoll.poll(TICK_SECONDS):
            self._dismiss(number)
        self._drop_stalled()
        self._cancel_deserted()

    def _dismiss(self, number: int) -> None:
        """Tell the waiting thread that its caller has left."""
        with self._changed:
            connection, watch = self._connections.get(number, (None, None))
            if connection and watch and _closed(connection):  # the number may be somebody else's by now
                watch.leave()

    def _drop_stalled(self) -> None:
        """Break the connections that have taken too long to take what is written to them."""
        now = time.monotonic()
        with self._changed:
            for connection, watch in self._connections.values():
                if watch.writing is not None and now > self._patience(*watch.writing):
                    watch.leave()
                    with suppress(OSError):
                        socket.shutdown(connection, SHUT_RDWR)

    def _patience(self, since: float, size: int) -> float:
        return since + (DRAINED_SECONDS if self._draining else STALLED_SECONDS + size / SLOWEST)

    def _cancel_deserted(self) -> None:
        while self._departed and self._departed[0][0] <= time.monotonic():
            _, job = self._departed.popleft()
            self._attendance.leave(job.id)
            if self._draining or not self._attendance.deserted(job.id):
                continue
            try:
                if cancel(self._system, job.id, job.owner):
                    ids = {"job": job.id, "request": job.request_id}
                    log.info("job %s was cancelled: nobody waits for it any more", job.id, extra=ids)
            except SQLAlchemyError as error:
                log.error("job %s was left by its caller and could not be cancelled: %s", job.id, reason(error))


def kept(job: Job) -> bool:
    """Say whether a job is done whoever waits for it: all are but those that were made for a caller who waits."""
    return not job.presentation.attended


def cancel(system: System, job_id: str, owner: str | None) -> Job | None:
    """Cancel an unfinished job, tell the listeners and return it; None if it has finished or is not there."""
    job = system.jobs.cancel(job_id, owner)
    if job is not None:
        system.plugins.announce(job)
    return job


def _closed(connection: socket) -> bool:
    hung_up = select.poll()
    hung_up.register(connection, select.POLLRDHUP)
    return bool(hung_up.poll(0))
