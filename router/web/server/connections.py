"""The connections of a web process: received from, refused, expired and closed."""

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from selectors import EVENT_READ, BaseSelector
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.workers.base import Worker as GunicornWorker

from router.settings import Settings
from router.web.server import refusal
from router.web.server.backpressure import HELD_BODIES, Backpressure
from router.web.server.connection import Connection, State

RECEIVE_SECONDS = 0.01  # of one step, before new connections and finished answers are served
QUEUED_SECONDS = 15.0  # the longest wait for a thread or for memory
DRAIN_SECONDS = 5.0  # for the rest of an unused body, so that its sender reads the answer
LINGER_SECONDS = 2.0  # for a client to close after the last answer


class Connections:
    """The open connections of the event loop; complete requests go to `enqueue`."""

    def __init__(
        self, worker: GunicornWorker, poller: BaseSelector, enqueue: Callable[[Connection], None], settings: Settings
    ) -> None:
        self._worker = worker
        self._poller = poller
        self._enqueue = enqueue
        self._max_body, self._seconds = settings.max_body_bytes, settings.receive_seconds
        self._open: dict[int, Connection] = {}
        self._backpressure = Backpressure(HELD_BODIES * self._max_body, self._open)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, accepted: socket.socket, address: Any) -> None:
        cfg = self._worker.cfg
        connection = Connection(accepted, address, cfg, max_body=self._max_body, seconds=self._seconds)
        self._open[id(connection)] = connection
        self._watch(connection)

    def evict(self) -> bool:
        """Close an idle connection, else the longest sender; return False if all are needed."""
        for states in ((State.IDLE, State.CLOSING), (State.HEAD, State.DRAINED), (State.BODY, State.PAUSED)):
            spare = [each for each in self._open.values() if each.state in states]
            if spare:
                self.close(min(spare, key=lambda each: each.deadline))
                return True
        return False

    def receive(self, readable: list[Connection]) -> None:
        """Receive for a while, heads before bodies, in random order."""
        # tiny chunks cost 0.3 microseconds a byte; in any fixed order the same senders would come last
        self._backpressure.recount()
        random.shuffle(readable)
        readable.sort(key=lambda each: each.incoming.request is not None)
        end = time.monotonic() + RECEIVE_SECONDS
        for connection in readable:
            try:
                self._receive(connection)
            except Exception:  # whatever it is: the other connections go on
                self._worker.log.exception("a connection could not be served")
                self.close(connection)
            if time.monotonic() > end:
                return

    def resume(self) -> None:
        self._backpressure.recount()
        for connection in self._backpressure.resume():
            self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        self._poller.register(connection.socket, EVENT_READ, connection)

    def _unwatch(self, connection: Connection) -> None:
        with suppress(KeyError, ValueError):
            self._poller.unregister(connection.socket)

    def _receive(self, connection: Connection) -> None:
        size_before = connection.incoming.size
        try:
            is_open = connection.receive()
        except BlockingIOError:
            return
        except (OSError, ParseException) as error:
            self._refuse(connection, error)
            return
        if is_open:
            self._backpressure.add(connection.incoming.size - size_before)
            self._advance(connection)
        elif connection.state is State.BODY:  # the client may still read
            self._send_and_close(connection, refusal.answer(*refusal.BROKEN_OFF))
        else:
            self.close(connection)

    def _advance(self, connection: Connection) -> None:
        """Act on received bytes: queue a complete request, pause a large one."""
        if connection.state is State.DRAINED:
            if connection.incoming.ended:
                self._next(connection)
        elif connection.incoming.ready:
            self._unwatch(connection)
            connection.is_pressed = False
            connection.enter(State.QUEUED, QUEUED_SECONDS)
            self._enqueue(connection)
        elif self._backpressure.applies_to(connection):
            self._unwatch(connection)
            connection.enter(State.PAUSED, QUEUED_SECONDS)
            self._backpressure.pause(connection)

    def finish(self, connection: Connection, *, keep: bool) -> None:
        """Go on with a connection after its answer: the next request, or the end."""
        connection.num_answered += 1
        connection.socket.setblocking(False)
        is_unread = not connection.incoming.ended
        if not keep:
            self._linger(connection, DRAIN_SECONDS if is_unread else LINGER_SECONDS)
        elif is_unread:
            connection.enter(State.DRAINED, DRAIN_SECONDS)
            self._watch(connection)
        else:
            self._next(connection)

    def _next(self, connection: Connection) -> None:
        """Begin with the next request, whose first bytes may be here."""
        rest = connection.incoming.rest
        connection.reset()
        connection.enter(State.IDLE, self._worker.cfg.keepalive if self._worker.alive else LINGER_SECONDS)
        self._unwatch(connection)
        self._watch(connection)
        if not rest:
            return
        try:
            connection.feed(rest)
        except (OSError, ParseException) as error:
            self._refuse(connection, error)
        else:
            self._advance(connection)

    def _refuse(self, connection: Connection, error: OSError | ParseException) -> None:
        """Answer invalid HTTP; close a broken connection."""
        if isinstance(error, OSError):
            self.close(connection)
            return
        peer = connection.address[0] if isinstance(connection.address, tuple) else "a unix socket"
        self._worker.log.info("invalid HTTP from %s: %r", peer, error)
        if connection.state is State.DRAINED:  # already answered: a second answer would be taken for the next request's
            self._linger(connection)
        else:
            self._send_and_close(connection, refusal.of_parsing(error))

    def close_idle_soon(self) -> None:
        """Limit the wait for further requests: this process stops."""
        for connection in self._open.values():
            if connection.state is State.IDLE:  # a request may be on its way
                connection.deadline = min(connection.deadline, time.monotonic() + LINGER_SECONDS)

    def expire(self) -> None:
        """Close overdue connections, with an answer where one is due."""
        now = time.monotonic()
        for connection in [each for each in self._open.values() if each.deadline < now]:
            state = connection.state
            if connection.is_pressed or state in (State.QUEUED, State.PAUSED):
                self._send_and_close(connection, refusal.answer(*refusal.BUSY))
            elif state in (State.HEAD, State.BODY):
                self._send_and_close(connection, refusal.too_slow(state.value, self._seconds))
            elif state is not State.RUNNING:
                self.close(connection)

    def _send_and_close(self, connection: Connection, answer: bytes) -> None:
        connection.send_now(answer)
        self._linger(connection)

    def _linger(self, connection: Connection, seconds: float = LINGER_SECONDS) -> None:
        """Close our side and read on for a moment."""
        connection.reset()
        try:
            connection.socket.shutdown(socket.SHUT_WR)  # a close with unread bytes is a reset, which drops the answer
        except OSError:
            self.close(connection)
            return
        connection.enter(State.CLOSING, seconds)
        self._unwatch(connection)
        self._watch(connection)

    def close(self, connection: Connection) -> None:
        self._unwatch(connection)
        connection.enter(State.CLOSING, 0)
        connection.is_pressed = False
        connection.socket.close()
        self._open.pop(id(connection), None)
