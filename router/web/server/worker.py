"""gunicorn's worker: the event loop that accepts connections and drives both halves."""

import errno
import math
import os
import resource
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.workers.base import Worker as GunicornWorker
from gunicorn.workers.gthread import PollableMethodQueue

from router.settings import Settings
from router.web.server.connection import Connection
from router.web.server.connections import Connections
from router.web.server.responder import Responder

TICK_SECONDS = 0.25
QUIT_SECONDS = 0.5  # for the answers to waiting clients
MAX_ACCEPTED = 16  # connections at a time, so that other workers get theirs
MAX_CONNECTIONS = 4096  # their buffers of up to 64 KiB are 256 MiB
FILES_A_THREAD = 4  # the store, its log, an input and a video
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Worker(GunicornWorker):  # type: ignore[misc]  # gunicorn has no types
    """A web process: one thread receives requests, a pool of threads answers them."""

    # a client that sends slowly, or nothing, so costs a connection and its bytes, and no thread

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._settings = Settings.from_environ()
        self._max_connections = _max_connections(self._settings)
        self._later = PollableMethodQueue()
        self._expired_at = 0.0
        self._end = math.inf

    def init_process(self) -> None:
        self._poller = selectors.DefaultSelector()
        self._later.init()
        self._connections = Connections(
            self, self._poller, lambda connection: self._responder.enqueue(connection), self._settings
        )
        self._responder = Responder(self, self._connections, self.call_soon, self._settings.max_body_bytes)
        super().init_process()

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.alive = False
        self._later.defer(self.notify)

    def handle_quit(self, sig: int, frame: Any) -> None:
        self._end = min(self._end, time.monotonic() + QUIT_SECONDS)
        self.handle_exit(sig, frame)

    def run(self) -> None:
        """Serve until the signal to stop, then finish answers for a while.

        After SIGTERM that is `graceful_timeout`, after SIGQUIT `QUIT_SECONDS`.
        """
        self._poller.register(self._later, selectors.EVENT_READ, partial(self._later.run_callbacks, self._later))
        for listener in self.sockets:
            listener.setblocking(False)
            self._poller.register(listener, selectors.EVENT_READ, partial(self._accept, listener))
        while self.alive and self.ppid == os.getppid():
            self._step()
        for listener in self.sockets:
            with suppress(KeyError):
                self._poller.unregister(listener)
            listener.close()
        self._end = min(self._end, time.monotonic() + self.cfg.graceful_timeout)
        self._connections.close_idle_soon()
        while self._connections and time.monotonic() < self._end:
            self._step()
        self._responder.shutdown()

    def _step(self) -> None:
        """Handle all events, or wait for one for a tick."""
        self.notify()
        ready = [key.data for key, _ in self._poller.select(TICK_SECONDS)]
        for action in ready:
            if not isinstance(action, Connection):
                self._do(action)
        self._connections.receive([each for each in ready if isinstance(each, Connection)])
        self._connections.resume()
        self._responder.start_queued()
        if time.monotonic() - self._expired_at > TICK_SECONDS:
            self._expired_at = time.monotonic()
            self._connections.expire()

    def _do(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # whatever it is: the other connections go on
            self.log.exception("a connection could not be served")

    def call_soon(self, action: Callable[[], None]) -> None:
        """Run `action` in the event loop; any thread or signal handler may call this."""
        self._later.defer(self._do, action)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(MAX_ACCEPTED):
            try:
                accepted, address = listener.accept()
            except OSError as error:
                if error.errno in OUT_OF_FILES and not self._connections.evict():
                    self.log.error("no connection can be accepted: %s", error)
                    time.sleep(TICK_SECONDS)
                return
            if len(self._connections) >= self._max_connections and not self._connections.evict():
                accepted.close()
            else:
                self._connections.add(accepted, address)


def _max_connections(settings: Settings) -> int:
    """Raise this process's limit of open files, and return the connections it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + FILES_A_THREAD * settings.threads
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(settings.threads // 2, min(MAX_CONNECTIONS, max(soft, limit) - FILES_A_THREAD * settings.threads))
