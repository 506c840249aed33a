"""The thread that keeps an engine's lease and heartbeat alive, whatever the backend is doing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread

from sqlalchemy.exc import SQLAlchemyError

from router.errors import reason
from router.system import System
from router.values import EngineState, Lease

HARD_STOP_SECONDS = 6.0
log = logging.getLogger(__name__)


class Keeper:
    """Renews every `settings.renew_seconds`; when the engine is told to stop it gives the running job back at once."""

    def __init__(self, system: System, state: Callable[[], EngineState]) -> None:
        self._jobs = system.jobs
        self._engines = system.engines
        self._plugins = system.plugins
        self._seconds = system.settings.renew_seconds
        self._state = state
        self._lease: Lease | None = None
        self._lock = Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()  # reentrant, so that a signal handler may use it
        self._gone = Event()
        self._thread = Thread(target=self._run, name="keeper", daemon=True)
        self.stopping = False

    def start(self) -> None:
        self._engines.heartbeat(self._state())
        self._thread.start()

    def stop(self) -> None:
        """Ask the engine to stop; safe in a signal handler."""
        self.stopping = True
        self._wake.put(None)

    def hold(self, lease: Lease | None) -> None:
        """Renew this lease from now on, or none; one that is claimed while the engine stops goes back at once."""
        with self._lock:
            self._lease = lease
            if self.stopping:
                self._give_back()

    def gone(self) -> None:
        """Say that the engine has stopped by itself."""
        self._gone.set()

    def _run(self) -> None:
        while not self.stopping:
            try:
                self._keep()
            except SQLAlchemyError as error:
                log.error("the store did not answer; the lease is renewed at the next try: %s", reason(error))
            self._sleep()
        try:
            with self._lock:
                self._give_back()
            self._engines.retire(self._state().id)
        except SQLAlchemyError as error:
            log.error("the store did not answer; the lease of the running job will run out: %s", reason(error))
        if not self._gone.wait(HARD_STOP_SECONDS):
            log.warning("the backend did not stop within %.0f s: ending the process", HARD_STOP_SECONDS)
            os._exit(0)

    def _sleep(self) -> None:
        try:
            self._wake.get(timeout=self._seconds)
        except Empty:
            return

    def _keep(self) -> None:
        with self._lock:
            if self._lease is not None and not self._jobs.renew(self._lease):
                log.info("lost the lease of job %s", self._lease.job, extra={"job": self._lease.job})
                self._lease = None
        for job in self._jobs.expire():
            self._plugins.announce(job)
        self._engines.heartbeat(self._state())
        self._jobs.prune()

    def _give_back(self) -> None:
        """Release what is held; the caller has the lock."""
        lease, self._lease = self._lease, None
        if lease is not None and (job := self._jobs.release(lease)):
            log.info("gave job %s back to the queue", lease.job, extra={"job": lease.job})
            self._plugins.announce(job)
