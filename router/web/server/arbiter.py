"""gunicorn's master: it shows life wherever it waits, and replaces workers wherever it waits."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from router.runtime.beats import STARTING, Beats
from router.runtime.systemd import Notifier

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

SERVING = "serve"
LOOP_SECONDS = 2.0  # gunicorn's main loop takes one; where it waits elsewhere, it does not look at its workers
BOOT_TICK_SECONDS = 1.0
GAP_SECONDS = 5.0  # more between two looks: this process stood still, perhaps with all others in a frozen container


class Master:
    """Wraps methods of one arbiter: those that its main loop calls, and those that wait beside it.

    A reload waits for the old workers, as long as a request may last, and looks at no other meanwhile;
    a stop does likewise. `served` says whether a worker has taken requests, `stopping` whether all of this stops.
    """

    def __init__(self, server: Arbiter, *, served: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        self._server = server
        self._served = served
        self._stopping = stopping
        self._systemd = Notifier()
        self._beats = Beats(int(os.environ["FRAMEGATE_BEATS"])) if "FRAMEGATE_BEATS" in os.environ else None
        self._looked = time.monotonic()
        self._spared_until = 0.0
        self._reloading_from: int | None = None
        self._murder, self._reap, self._reload, self._stop = (
            server.murder_workers,
            server.reap_workers,
            server.reload,
            server.stop,
        )
        server.murder_workers, server.reap_workers = self.murder_workers, self.reap_workers
        server.reload, server.stop = self.reload, self.stop

    def murder_workers(self) -> None:
        """Show life, and kill the workers that show none; the main loop calls this each second."""
        before, self._looked = self._looked, time.monotonic()
        if self._looked - before > GAP_SECONDS:
            self._spared_until = self._looked + GAP_SECONDS  # until those that wake up now have shown life
        served = self._served()
        self._systemd.alive(served)
        if self._beats is not None:
            self._beats(SERVING if served else STARTING)
        if self._looked >= self._spared_until:
            self._murder()

    def reap_workers(self) -> None:
        """Take leave of workers that ended; where the main loop stands still, do its work too."""
        self._reap()
        if time.monotonic() - self._looked > LOOP_SECONDS:
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
        """While a reload waits for the old workers, keep the number of those that take requests."""
        if self._reloading_from is None or self._stopping():
            return
        new = [worker for worker in self._server.WORKERS.values() if worker.age > self._reloading_from]
        if len(new) < self._server.num_workers:
            self._server.spawn_worker()
        if self._stopping():  # since: the signal went to those that were there
            self._server.kill_workers(signal.SIGTERM)


def show_life_while_booting(worker: Worker, seconds: float) -> None:
    """Have a worker notify the master while it boots, for so long at most.

    gunicorn watches a worker from its first notification on, which comes when it has booted.
    """
    worker.tmp.notify()

    def notify() -> None:
        until = time.monotonic() + seconds
        with suppress(OSError, ValueError):  # it ends, and has closed its file
            while not worker.booted and time.monotonic() < until:
                worker.tmp.notify()
                time.sleep(BOOT_TICK_SECONDS)

    Thread(target=notify, name="booting", daemon=True).start()
