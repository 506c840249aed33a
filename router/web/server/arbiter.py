"""gunicorn's master: heartbeats and replaced workers also during reloads and stops."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from router.runtime.supervision import SERVING, STARTING, Beats
from router.runtime.systemd import Notifier

LOOP_SECONDS = 2.0  # gunicorn's main loop takes one second; after two it waits elsewhere and checks no workers
BOOT_TICK_SECONDS = 1.0
GAP_SECONDS = 5.0  # a longer gap between two checks: this process was suspended, perhaps with its whole container


class Master:
    """Wraps one arbiter's methods for its main loop, reloads and stops.

    `served` says whether a worker has taken requests, `stopping` whether the whole server stops.
    """

    # a reload or a stop waits for old workers, as long as a request may last, and checks no other worker meanwhile

    def __init__(self, server: Arbiter, *, served: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        self._server = server
        self._served = served
        self._stopping = stopping
        self._systemd = Notifier()
        self._beats = Beats(int(os.environ["FRAMEGATE_BEATS"])) if "FRAMEGATE_BEATS" in os.environ else None
        self._checked_at = time.monotonic()
        self._spare_until = 0.0
        self._reloading_from: int | None = None
        self._murder, self._reap = server.murder_workers, server.reap_workers
        self._reload, self._stop = server.reload, server.stop
        server.murder_workers, server.reap_workers = self.murder_workers, self.reap_workers
        server.reload, server.stop = self.reload, self.stop

    def murder_workers(self) -> None:
        """Send a heartbeat and kill silent workers; the main loop calls this each second."""
        before, self._checked_at = self._checked_at, time.monotonic()
        if self._checked_at - before > GAP_SECONDS:
            self._spare_until = self._checked_at + GAP_SECONDS  # workers that wake up now have not sent heartbeats yet
        served = self._served()
        self._systemd.alive(served)
        if self._beats is not None:
            self._beats(SERVING if served else STARTING)
        if self._checked_at >= self._spare_until:
            self._murder()

    def reap_workers(self) -> None:
        """Reap ended workers; during reloads and stops do the main loop's work."""
        self._reap()
        if time.monotonic() - self._checked_at > LOOP_SECONDS:
            self.murder_workers()
            self._replace_new_workers()

    def reload(self) -> None:
        self._reloading_from = self._server.worker_age
        try:
            self._reload()
        finally:
            self._reloading_from = None

    def stop(self, graceful: bool = True) -> None:
        self._systemd.stopping()
        self._stop(graceful)

    def _replace_new_workers(self) -> None:
        """Replace new workers that end while a reload waits for the old ones."""
        if self._reloading_from is None or self._stopping():
            return
        new = [worker for worker in self._server.WORKERS.values() if worker.age > self._reloading_from]
        if len(new) < self._server.num_workers:
            self._server.spawn_worker()
        if self._stopping():  # the signal went to the workers of that moment only
            self._server.kill_workers(signal.SIGTERM)


def notify_while_booting(worker: Worker, seconds: float) -> None:
    """Have a worker notify the master while it boots, for at most `seconds`."""
    worker.tmp.notify()  # gunicorn watches a worker from its first notification on, which it would send once booted

    def notify() -> None:
        end = time.monotonic() + seconds
        with suppress(OSError, ValueError):  # the worker ends, and has closed its file
            while not worker.booted and time.monotonic() < end:
                worker.tmp.notify()
                time.sleep(BOOT_TICK_SECONDS)

    Thread(target=notify, name="booting", daemon=True).start()
