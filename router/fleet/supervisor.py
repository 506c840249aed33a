"""The parent process of the web half and the engines."""

import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from threading import Thread

from router.fleet.child import Child, Running
from router.runtime.clock import AwakeClock
from router.runtime.supervision import CANNOT_START
from router.runtime.systemd import Notifier

STOP_SECONDS = 8.0
TICK_SECONDS = 0.2
STDERR = 2
log = logging.getLogger(__name__)


class Supervisor:
    """Keeps children alive until SIGTERM, SIGINT or a child that cannot start.

    SIGHUP calls `reload`; when the terminal closes, it stops instead.
    """

    def __init__(self, children: Sequence[Child], reload: Callable[[], None] = lambda: None) -> None:
        self._clock = AwakeClock()
        self._children = [Running(child, self._clock) for child in children]
        self._selector = selectors.DefaultSelector()
        self._systemd = Notifier()
        self._stopping = False
        self._reload = reload
        self._reloading = False
        self._reloader: Thread | None = None
        self._from_terminal = os.isatty(STDERR)

    def run(self) -> int:
        """Return the exit status: 0 after a signal, `CANNOT_START` after a failed start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        status = 0
        try:
            while not self._stopping and status == 0:
                status = self._tick()
        finally:
            self._systemd.stopping()
            self._stop_children()
        return status

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _hang_up(self, *_: object) -> None:
        if self._from_terminal and not os.isatty(STDERR):
            self._stopping = True
        self._reloading = True

    def _tick(self) -> int:
        self._clock.tick()
        self._systemd.alive(all(running.proven for running in self._children))
        if self._reloading and not (self._reloader and self._reloader.is_alive()):
            self._reloading = False
            self._start_reload()
        for running in self._children:
            if running.process is None and self._clock.now >= running.start_at and running.start():
                self._selector.register(running.pipe, selectors.EVENT_READ, running)
        for key, _ in self._selector.select(TICK_SECONDS):
            if not key.data.read_beats():
                self._selector.unregister(key.fd)
        alive = [self._check(running) for running in self._children if running.process is not None]
        return 0 if all(alive) else CANNOT_START

    def _start_reload(self) -> None:
        """Reload in a thread, as the store may block."""
        reloader = Thread(target=self._run_reload, name="reload", daemon=True)
        try:
            reloader.start()
        except RuntimeError as error:  # no thread can be started
            log.error("the reload cannot be started: %s; what is served stays as it is", error)
        else:
            self._reloader = reloader

    def _run_reload(self) -> None:
        try:
            self._reload()
        except Exception:
            log.exception("the reload failed; what is served stays as it is")

    def _check(self, running: Running) -> bool:
        """Replace a silent child, restart an ended one; return False if it cannot start."""
        running.replace_if_silent()
        if running.process is None or running.process.poll() is None:
            return True
        if running.pipe in self._selector.get_map():
            self._selector.unregister(running.pipe)
        return running.handle_end()

    def _stop_children(self) -> None:
        log.info("stopping")
        alive = [running for running in self._children if running.process is not None]
        for running in alive:
            running.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and any(r.process and r.process.poll() is None for r in alive):
            time.sleep(0.02)
        for running in alive:
            if running.process is not None and running.process.poll() is None:
                log.warning("%s did not stop in time: killing it", running.child.name)
            running.kill()
        log.info("stopped; unfinished jobs go on at the next start")
