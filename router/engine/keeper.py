"""The thread that keeps an engine's lease and heartbeat alive, whatever the backend is doing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from threading import Event, Lock, Thread

from sqlalchemy.exc import OperationalError

from router.jobs import JobStore
from router.values import EngineState, Lease

HARD_STOP_SECONDS = 6.0
log = logging.getLogger(__name__)


class Keeper:
    """Renews every `seconds`; when the engine is told to stop it gives the running job back at once."""

    def __init__(self, store: JobStore, state: Callable[[], EngineState], seconds: float) -> None:
        self._store = store
        self._state = state
        self._seconds = seconds
        self._lease: Lease | None = None
        self._lock = Lock()
        self._stopping = Event()
        self._gone = Event()
        self._thread = Thread(target=self._run, name="keeper", daemon=True)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def start(self) -> None:
        self._store.heartbeat(self._state())
        self._thread.start()

    def stop(self) -> None:
        """Ask the engine to stop; safe in a signal handler."""
        self._stopping.set()

    def idle(self, seconds: float) -> None:
        """Sleep, but not through a stop."""
        self._stopping.wait(seconds)

    def hold(self, lease: Lease | None) -> None:
        """Renew this lease from now on, or none."""
        with self._lock:
            self._lease = lease

    def gone(self) -> None:
        """Say that the engine has stopped by itself."""
        self._gone.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self._renew()
                self._store.expire()
                self._store.heartbeat(self._state())
                self._store.prune()
            except OperationalError:
                log.exception("the store did not answer; the lease is renewed at the next try")
        self._give_back()
        if not self._gone.wait(HARD_STOP_SECONDS):
            log.warning("the backend did not stop within %.0f s: ending the process", HARD_STOP_SECONDS)
            os._exit(0)

    def _renew(self) -> None:
        with self._lock:
            if self._lease is not None and not self._store.renew(self._lease):
                log.info("lost the lease of job %s", self._lease.job)
                self._lease = None

    def _give_back(self) -> None:
        with self._lock:
            if self._lease is not None and self._store.release(self._lease):
                log.info("gave job %s back to the queue", self._lease.job)
        state = self._state()
        self._store.retire(state.id)
