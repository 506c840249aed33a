"""One caller's connection: its socket, what arrives of its next request, and until when more must come."""

from __future__ import annotations

import select
import socket
import time
from enum import Enum
from typing import Any

from router.web.server.incoming import Incoming

BODY_BYTES = 64 * 2**10  # of a body give its sender time for more
PRESSED_BYTES, PRESSED_SECONDS = 2**20, 2.0  # the same while others wait for the memory that it takes
SEND_SECONDS = 60.0  # a caller who takes nothing of an answer for so long has left
SENT_BYTES = 256 * 2**10
READ_BYTES = 256 * 2**10
HEAD_READ_BYTES = 4 * 2**10  # so that what comes behind a head does not delay the heads of others


class State(Enum):
    """What a connection waits for."""

    IDLE = "the next request"
    HEAD = "headers"
    BODY = "body"
    PAUSED = "memory"
    QUEUED = "thread"
    RUNNING = "answer"
    DRAINED = "end of a body that is not used"
    CLOSING = "caller's end"


class Caller(socket.socket):
    """A socket on which a write fails only when its caller takes nothing for `SEND_SECONDS`.

    `socket.sendall` would count the time that the whole write takes.
    """

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        left = memoryview(data).cast("B")
        while left:
            left = left[self.send(left[:SENT_BYTES], flags) :]


class Connection:
    """A connection of the event loop; while it is RUNNING, of the thread that answers."""

    def __init__(self, accepted: socket.socket, address: Any, cfg: Any, *, most_body: int, seconds: float) -> None:
        self.socket = Caller(fileno=accepted.detach())
        self.socket.setblocking(False)
        self.address = address
        self.server = self.socket.getsockname()
        self.state = State.IDLE
        self.until = time.monotonic() + seconds
        self.answered = 0  # requests
        self._cfg, self._most_body, self._seconds = cfg, most_body, seconds
        self._marked = 0  # bytes of the body when its deadline was last set
        self.is_pressed = False
        self.expect()

    def expect(self) -> None:
        """Forget what has arrived, and begin with the next request."""
        self.is_pressed = False
        self.incoming = Incoming(self._cfg, self.address, self.answered + 1, self._most_body)

    def enter(self, state: State, seconds: float) -> None:
        """Wait for something else, for at most so many seconds."""
        self.state, self.until = state, time.monotonic() + seconds

    def go_on(self, *, pressed: bool) -> None:
        """Give the sender of a body time for the next part of it."""
        self.is_pressed, self._marked = pressed, self.incoming.size
        self.enter(State.BODY, PRESSED_SECONDS if pressed else self._seconds)

    def receive(self) -> bool:
        """Take what has arrived; False when the caller has closed their side."""
        begins = self.incoming.request is None and self.state is not State.CLOSING
        data = self.socket.recv(HEAD_READ_BYTES if begins else READ_BYTES)
        if not data:
            return False
        if self.state is not State.CLOSING:
            self.take(data)
        return True

    def take(self, data: bytes) -> None:
        """Take bytes of the next request; raises gunicorn's `ParseException` for what is none."""
        self.incoming.receive(data)
        if self.state is State.IDLE:
            self.enter(State.HEAD, self._seconds)
        if self.incoming.request is None or self.state is State.DRAINED:
            return
        if self.state is State.HEAD:
            self.go_on(pressed=False)
            if self.incoming.awaits_continue:
                self.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif self.incoming.size - self._marked >= (PRESSED_BYTES if self.is_pressed else BODY_BYTES):
            self.go_on(pressed=self.is_pressed)

    def takes_more(self) -> bool:
        """Say whether a short answer can be sent without waiting for the caller to read."""
        sending = select.poll()
        sending.register(self.socket, select.POLLOUT)
        return bool(sending.poll(0))

    def say(self, answer: bytes) -> None:
        """Send a short answer, as far as the caller's socket takes it."""
        self.socket.setblocking(False)
        try:
            self.socket.send(answer)
        except OSError:
            return
