"""Disconnected clients, whose jobs are cancelled."""

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
from router.jobs import WaiterStore
from router.runtime.threads import log_and_go_on
from router.system import System
from router.values import Job
from router.web.waiting.presence import LocalPresence, Presence, SharedPresence
from router.web.waiting.watch import Watch

TICK_SECONDS = 0.25
STALLED_SECONDS = 60.0  # a client that reads nothing for this long has left
SLOWEST = 16 * 2**10  # bytes a second: a large write has more time
DRAINED_SECONDS = 1.0  # for a write while the process stops
log = logging.getLogger(__name__)


class DisconnectMonitor:
    """Cancels jobs whose clients have disconnected; one thread per process.

    A client has left when its connection is closed, also on its side only; when a write to it fails; or when it reads
    nothing for a minute. The job goes on if it was not made for a waiting client, if this process stops, or if another
    client waits for it `seconds` later, in any process.
    """

    def __init__(self, system: System, *, seconds: float) -> None:
        self._system = system
        self._seconds = seconds
        self._presence = _presence(system)
        self._epoll = select.epoll()
        self._connections: dict[int, tuple[socket, Watch]] = {}
        self._departed: deque[tuple[float, Job, bool]] = deque()  # with whether the client still counts as waiting
        self._changed = Condition()
        self._draining = False
        self._thread: Thread | None = None

    @contextmanager
    def attended(self, watch: Watch, connection: socket | None) -> Iterator[None]:
        """Watch the connection of a waiting request; None under a server without connections."""
        job = watch.job
        if job.presentation.attended:  # it ends with its last waiting client
            self._presence.enter(job.id)
            self._start_renewals()
        number = self._register(connection, watch) if connection is not None else -1
        try:
            yield
        finally:
            self._unregister(number)
            if job.presentation.attended:
                self._end_wait(job, watch.left)

    def drain(self) -> None:
        """Cancel no further job: this process stops."""
        self._draining = True

    def _end_wait(self, job: Job, left: bool) -> None:
        if not left or self._draining:
            self._presence.leave(job.id)
            return
        with self._changed:
            # later: a client that has lost its connection may come back
            self._departed.append((time.monotonic() + self._seconds, job, True))
            self._start()

    def _start_renewals(self) -> None:
        if self._presence.needs_renewal:
            with self._changed:
                self._start()

    def _register(self, connection: socket, watch: Watch) -> int:
        number = connection.fileno()
        with self._changed:
            self._connections[number] = (connection, watch)
            self._epoll.register(number, select.EPOLLRDHUP | select.EPOLLONESHOT)
            self._start()
        return number

    def _unregister(self, number: int) -> None:
        with self._changed:
            if self._connections.pop(number, None):
                with suppress(OSError):  # the kernel has dropped a closed one
                    self._epoll.unregister(number)

    def _start(self) -> None:
        self._changed.notify()
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._run, name="disconnects", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._connections or self._departed or self._presence.needs_renewal)
            with log_and_go_on("the watcher of connections"):
                self._tick()

    def _tick(self) -> None:
        for number, _ in self._epoll.poll(TICK_SECONDS):
            with self._changed:
                connection, watch = self._connections.get(number, (None, None))
                if connection and watch and _is_closed(connection):  # the number may be another connection's by now
                    watch.leave()
        self._drop_stalled()
        self._cancel_abandoned()
        self._presence.renew()

    def _drop_stalled(self) -> None:
        """Shut down the connections of clients that no longer read."""
        with self._changed:
            for connection, watch in self._connections.values():
                if watch.writing is None:
                    continue
                since, size = watch.writing
                if time.monotonic() - since > (DRAINED_SECONDS if self._draining else STALLED_SECONDS + size / SLOWEST):
                    watch.leave()
                    with suppress(OSError):
                        socket.shutdown(connection, SHUT_RDWR)

    def _cancel_abandoned(self) -> None:
        while self._departed and self._departed[0][0] <= time.monotonic():
            _, job, is_counted = self._departed.popleft()
            if is_counted:
                self._presence.leave(job.id)
            if not self._draining and not self._cancel_unawaited(job):
                self._departed.append((time.monotonic() + self._seconds, job, False))

    def _cancel_unawaited(self, job: Job) -> bool:
        """Cancel a job without waiters; return whether its wait needs no further look."""
        try:
            if self._presence.is_empty(job.id):
                if cancel(self._system, job.id, job.owner):
                    ids = {"job": job.id, "request": job.request_id}
                    log.info("job %s was cancelled: no client waits for it any more", job.id, extra=ids)
                return True
        except SQLAlchemyError as error:
            log.error("job %s could not be cancelled after its client disconnected: %s", job.id, reason(error))
            return self._presence.is_final
        # the other process cancels it when its client has left, but it may die, and with it its machine
        return self._presence.is_final or self._presence.is_here(job.id)


def _presence(system: System) -> Presence:
    if system.database.is_shared:
        return SharedPresence(WaiterStore(system.database))
    return LocalPresence(system.settings.data / "waiting.lock")


def cancel(system: System, job_id: str, owner: str | None) -> Job | None:
    """Cancel a job and its siblings and return it; None if it has finished."""
    job = system.jobs.cancel(job_id, owner)
    if job is not None:
        system.plugins.announce(job)
    found = job or system.jobs.get(job_id, owner)
    others = [cancel(system, sibling, owner) for sibling in (found.presentation.siblings if found else ())]
    return job or (found if any(others) else None)


def _is_closed(connection: socket) -> bool:
    hung_up = select.poll()
    hung_up.register(connection, select.POLLRDHUP)
    return bool(hung_up.poll(0))
