"""One client's connection: its socket, its state, its deadline and its incoming request."""

import select
import socket
import time
from contextlib import suppress
from enum import Enum
from typing import Any

from router.web.server.incoming import Incoming

BODY_BYTES = 64 * 2**10  # received bytes that extend a body's deadline
# the same for a body that is received although memory is short: all others wait for its end
PRESSED_BYTES, PRESSED_SECONDS = 2**20, 2.0
SEND_SECONDS = 60.0  # a client that reads nothing for this long has left
SENT_BYTES = 256 * 2**10
READ_BYTES = 256 * 2**10
HEAD_READ_BYTES = 4 * 2**10  # small, so that bytes behind a head do not delay the heads of others


class State(Enum):
    """What a connection waits for."""

    IDLE = "the next request"
    HEAD = "headers"
    BODY = "body"
    PAUSED = "memory"
    QUEUED = "thread"
    RUNNING = "answer"
    DRAINED = "end of a body that is not used"
    CLOSING = "client's end"


class ClientSocket(socket.socket):
    """A socket with a timeout per piece of a write, not per write."""

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        left = memoryview(data).cast("B")
        while left:
            left = left[self.send(left[:SENT_BYTES], flags) :]


class Connection:
    """A connection of the event loop; while RUNNING, of the answering thread."""

    def __init__(self, accepted: socket.socket, address: Any, cfg: Any, *, max_body: int, seconds: float) -> None:
        self.socket = ClientSocket(fileno=accepted.detach())
        self.socket.setblocking(False)
        self.address = address
        self.server = self.socket.getsockname()
        self.state = State.IDLE
        self.deadline = time.monotonic() + seconds
        self.num_answered = 0  # requests
        self._cfg, self._max_body, self._seconds = cfg, max_body, seconds
        self._size_then = 0  # bytes of the body when its deadline was last set
        self.reset()

    def reset(self) -> None:
        """Drop the received bytes and begin with the next request."""
        self.is_pressed = False  # it sends a large body while memory is short, and must be quick
        self.incoming = Incoming(self._cfg, self.address, self.num_answered + 1, self._max_body)

    def enter(self, state: State, seconds: float) -> None:
        self.state, self.deadline = state, time.monotonic() + seconds

    def extend_body(self, *, is_pressed: bool) -> None:
        """Set the deadline for the next part of a body."""
        self.is_pressed, self._size_then = is_pressed, self.incoming.size
        self.enter(State.BODY, PRESSED_SECONDS if is_pressed else self._seconds)

    def receive(self) -> bool:
        """Read from the socket; return False at the client's end."""
        is_head = self.incoming.request is None and self.state is not State.CLOSING
        data = self.socket.recv(HEAD_READ_BYTES if is_head else READ_BYTES)
        if not data:
            return False
        if self.state is not State.CLOSING:
            self.feed(data)
        return True

    def feed(self, data: bytes) -> None:
        """Take bytes of the next request; raises gunicorn's `ParseException` for invalid HTTP."""
        self.incoming.receive(data)
        if self.state is State.IDLE:
            self.enter(State.HEAD, self._seconds)
        if self.incoming.request is None or self.state is State.DRAINED:
            return
        if self.state is State.HEAD:
            self.extend_body(is_pressed=False)
            if self.incoming.awaits_continue:
                self.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif self.incoming.size - self._size_then >= (PRESSED_BYTES if self.is_pressed else BODY_BYTES):
            self.extend_body(is_pressed=self.is_pressed)

    def is_writable(self) -> bool:
        """Say whether a short answer can be sent without blocking."""
        sending = select.poll()
        sending.register(self.socket, select.POLLOUT)
        return bool(sending.poll(0))

    def send_now(self, answer: bytes) -> None:
        """Send a short answer, or what the socket takes without blocking."""
        self.socket.setblocking(False)
        with suppress(OSError):
            self.socket.send(answer)
