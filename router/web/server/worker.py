"""gunicorn's worker: one thread receives requests, whole and in time; a pool of threads answers them.

A caller who sends slowly, or nothing, costs a connection and what has been sent, and no thread.
"""

from __future__ import annotations

import errno
import os
import random
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.http import wsgi
from gunicorn.http.errors import ParseException
from gunicorn.workers.base import Worker as Base

from router.settings import Settings
from router.web.server import refusal
from router.web.server.connection import READ_BYTES, SEND_SECONDS, Connection, State
from router.web.server.environ import ENDS, RELEASE
from router.web.server.open_files import connections_of

TICK_SECONDS = 0.25
TURN_SECONDS = 0.01  # for what has arrived, before new connections and finished answers are looked at again
HEALTH = ("/healthz", "/readyz", "/metrics")
HEALTH_THREADS = 4  # of all: they answer HEALTH and nothing else
QUEUED_SECONDS = 15.0  # for a thread, or for memory
DRAIN_SECONDS = 5.0  # for what still comes of a body that is not used, so that its sender reads the answer
LINGER_SECONDS = 2.0  # for a caller to close after the last answer
HELD_BODIES = 2
LARGE_BYTES = 32 * 2**10  # a smaller body needs no leave
ACCEPTED = 16  # connections at a time, so that other workers get theirs


class Worker(Base):  # type: ignore[misc]  # gunicorn has no types
    """A web process. Bodies that arrive, and bodies that threads read, are each up to `HELD_BODIES` of the largest."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        settings = Settings.from_environ()
        self._most_body = settings.max_body_bytes
        self._seconds = settings.receive_seconds
        self._most_connections = connections_of(settings)
        self._most_held = HELD_BODIES * self._most_body
        self._connections: dict[int, Connection] = {}
        self._health: deque[Connection] = deque()
        self._small: deque[Connection] = deque()
        self._large: deque[Connection] = deque()
        self._paused: list[Connection] = []
        self._pressed: Connection | None = None
        self._running = self._healthy = 0  # threads
        self._kept_bytes: int | None = None  # by all who send, as far as it was counted in this step
        self._handled = 0  # bytes of bodies that threads read, and of what they make of them
        self._later: deque[Callable[[], None]] = deque()
        self._checked = 0.0

    def init_process(self) -> None:
        self._poller = selectors.DefaultSelector()
        self._threads = ThreadPoolExecutor(self.cfg.threads, thread_name_prefix="request")
        self._waker, self._woken = os.pipe()
        for end in (self._waker, self._woken):
            os.set_blocking(end, False)
        super().init_process()

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.alive = False
        self._wake()

    def run(self) -> None:
        """Serve until told to stop, then answer what has begun, for up to `graceful_timeout`."""
        self._poller.register(self._waker, selectors.EVENT_READ, self._drain_waker)
        self._listen()
        while self.alive and self.ppid == os.getppid():
            self._step()
        for listener in self.sockets:
            with suppress(KeyError):
                self._poller.unregister(listener)
            listener.close()
        until = time.monotonic() + self.cfg.graceful_timeout
        for connection in list(self._connections.values()):
            if connection.state is State.IDLE:  # a request may be on its way
                connection.until = min(connection.until, time.monotonic() + LINGER_SECONDS)
        while self._connections and time.monotonic() < until:
            self._step()
        self._threads.shutdown(wait=False)

    def _listen(self) -> None:
        for listener in self.sockets:
            listener.setblocking(False)
            self._poller.register(listener, selectors.EVENT_READ, partial(self._accept, listener))

    def _step(self) -> None:
        """Do what is due, or wait for it for a tick."""
        self.notify()
        ready = [key.data for key, _ in self._poller.select(TICK_SECONDS)]
        for action in ready:
            if not isinstance(action, Connection):
                self._do(action)
        self._kept_bytes = None
        self._receive_some([each for each in ready if isinstance(each, Connection)])
        while self._later:
            self._do(self._later.popleft())
        self._kept_bytes = None
        self._resume()
        self._start()
        if time.monotonic() - self._checked > TICK_SECONDS:
            self._checked = time.monotonic()
            self._expire()

    def _do(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # of one connection, whatever it is: the others go on
            self.log.exception("a connection could not be served")

    # a thread that has answered, or read its body, tells the loop

    def _do_later(self, action: Callable[[], None]) -> None:
        self._later.append(action)
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it is full, so it wakes anyway
            os.write(self._woken, b"\0")

    def _drain_waker(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._waker, 65536)

    # accepting

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED):
            try:
                accepted, address = listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM) and not self._evict():
                    self.log.error("no connection can be accepted: %s", error)
                    time.sleep(TICK_SECONDS)
                return
            if len(self._connections) >= self._most_connections and not self._evict():
                accepted.close()
                continue
            connection = Connection(accepted, address, self.cfg, most_body=self._most_body, seconds=self._seconds)
            self._connections[id(connection)] = connection
            self._watch(connection)

    def _evict(self) -> bool:
        """Close the connection that can best be spared: an idle one, else the one that has sent for the longest."""
        for states in ((State.IDLE, State.CLOSING), (State.HEAD, State.DRAINED), (State.BODY, State.PAUSED)):
            spare = [each for each in self._connections.values() if each.state in states]
            if spare:
                self._close(min(spare, key=lambda each: each.until))
                return True
        return False

    # receiving

    def _watch(self, connection: Connection) -> None:
        self._poller.register(connection.socket, selectors.EVENT_READ, connection)

    def _unwatch(self, connection: Connection) -> None:
        with suppress(KeyError, ValueError):
            self._poller.unregister(connection.socket)

    def _receive_some(self, connections: list[Connection]) -> None:
        """Receive for a turn, heads before bodies: tiny chunks cost 0.3 microseconds a byte.

        The order is random, so that nobody is left out for long.
        """
        random.shuffle(connections)
        connections.sort(key=lambda each: each.incoming.request is not None)
        until = time.monotonic() + TURN_SECONDS
        for connection in connections:
            try:
                self._receive(connection)
            except Exception:  # of one connection, whatever it is: the others go on
                self.log.exception("a connection could not be served")
                self._close(connection)
            if time.monotonic() > until:
                return

    def _receive(self, connection: Connection) -> None:
        before = connection.incoming.size
        try:
            if not connection.receive():
                if connection.state is State.BODY:  # they may still read
                    self._say_and_close(connection, refusal.broken_off())
                else:
                    self._close(connection)
                return
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        except ParseException as error:
            self._refuse(connection, error)
            return
        if self._kept_bytes is not None:
            self._kept_bytes += connection.incoming.size - before
        self._advance(connection)

    def _advance(self, connection: Connection) -> None:
        """Go on with a connection that has received something."""
        incoming = connection.incoming
        if connection.state is State.DRAINED:
            if incoming.ended:
                self._next(connection)
        elif incoming.ready:
            self._unwatch(connection)
            connection.is_pressed = False
            connection.enter(State.QUEUED, QUEUED_SECONDS)
            self._queue_of(connection).append(connection)
        elif incoming.size > LARGE_BYTES and not connection.is_pressed and self._held() > self._most_held:
            self._unwatch(connection)
            connection.enter(State.PAUSED, QUEUED_SECONDS)
            self._paused.append(connection)

    def _queue_of(self, connection: Connection) -> deque[Connection]:
        incoming = connection.incoming
        if incoming.request is not None and incoming.request.path in HEALTH and incoming.size <= LARGE_BYTES:
            return self._health
        return self._small if incoming.size <= LARGE_BYTES else self._large

    def _held(self) -> int:
        """Return the bytes kept of all that arrives, counted once in a step, as counting costs more than receiving."""
        if self._kept_bytes is None:
            kept = (each.incoming.size for each in self._connections.values() if each.state is not State.RUNNING)
            self._kept_bytes = sum(kept)
        return self._kept_bytes

    def _resume(self) -> None:
        """Let those send on who were paused for memory: all when there is some, else the one who has sent the most.

        That one must be quick. With no exception all would wait for the end of one of them.
        """
        if not self._paused:
            return
        self._paused = [each for each in self._paused if each.state is State.PAUSED]
        fit = (self._most_held - self._held()) // READ_BYTES  # as each may receive so much before it is looked at again
        if fit > 0:
            freed, self._paused = self._paused[:fit], self._paused[fit:]
            for connection in freed:
                self._go_on(connection, pressed=False)
        elif self._paused and (self._pressed is None or not self._pressed.is_pressed):
            self._pressed = max(self._paused, key=lambda each: each.incoming.size)
            self._paused.remove(self._pressed)
            self._go_on(self._pressed, pressed=True)

    def _go_on(self, connection: Connection, *, pressed: bool) -> None:
        connection.go_on(pressed=pressed)
        self._watch(connection)

    def _refuse(self, connection: Connection, error: ParseException) -> None:
        peer = connection.address[0] if isinstance(connection.address, tuple) else "a unix socket"
        self.log.info("no request came from %s: %r", peer, error)
        if connection.state is State.DRAINED:  # it has its answer: a second one would be taken for the next request's
            self._linger(connection)
        else:
            self._say_and_close(connection, refusal.of_parsing(error))

    # answering

    def _start(self) -> None:
        """Hand requests to threads; those about the process's health have a few that are theirs alone."""
        while self._health and self._healthy < HEALTH_THREADS:
            connection = self._health.popleft()
            if connection.takes_more():
                self._run(connection, about_health=True)
            else:
                self._close(connection)  # its answers are not read: one more would hold a thread
        free = self.cfg.threads - HEALTH_THREADS
        while self._small and self._running < free:
            self._run(self._small.popleft())
        while self._large and self._running < free and self._fits(self._large[0]):
            self._run(self._large.popleft())

    def _fits(self, connection: Connection) -> bool:
        return self._handled == 0 or self._handled + connection.incoming.size <= self._most_held

    def _run(self, connection: Connection, *, about_health: bool = False) -> None:
        if connection.state is not State.QUEUED:  # it was closed meanwhile
            return
        connection.state = State.RUNNING
        size = connection.incoming.size if connection.incoming.size > LARGE_BYTES else 0
        self._handled += size
        self._count(about_health, 1)
        release = _once(partial(self._do_later, partial(self._let_go, size)))
        try:
            self._threads.submit(self._answer, connection, about_health, release)
        except RuntimeError as error:  # the system has no thread to give: one that is there takes it up
            self.log.error("no thread could be started: %s", error)

    def _let_go(self, size: int) -> None:
        self._handled -= size

    def _answer(self, connection: Connection, about_health: bool, release: Callable[[], None]) -> None:
        """Answer a request, in a thread of its own, and tell the loop whether the connection can have another."""
        ends: list[Callable[[], None]] = [release]
        kept = False
        try:
            connection.socket.settimeout(SEND_SECONDS)
            kept = self._call(connection, ends)
        except OSError as error:  # the caller has gone, or takes nothing
            self.log.debug("a caller has left: %s", error)
        except Exception:
            self.log.exception("a request could not be answered")
        finally:
            try:
                for end in ends:
                    end()
            finally:
                self._do_later(partial(self._answered, connection, about_health, kept))

    def _call(self, connection: Connection, ends: list[Callable[[], None]]) -> bool:
        request = connection.incoming.request
        assert request is not None
        request.body = connection.incoming.body()
        response, environ = wsgi.create(request, connection.socket, connection.address, connection.server, self.cfg)
        environ |= {"wsgi.multithread": True, ENDS: ends, RELEASE: ends[0]}
        if not self.alive or connection.incoming.is_unwanted:
            response.force_close()
        try:
            pieces: Iterable[bytes] = self.wsgi(environ, response.start_response)
            try:
                if isinstance(pieces, environ["wsgi.file_wrapper"]):
                    response.write_file(pieces)
                else:
                    for piece in pieces:
                        response.write(piece)
                response.close()
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()
        except OSError:
            raise
        except Exception:
            if not response.headers_sent:
                connection.say(refusal.failed())
            raise
        return not response.should_close()

    def _count(self, about_health: bool, threads: int) -> None:
        if about_health:
            self._healthy += threads
        else:
            self._running += threads

    def _answered(self, connection: Connection, about_health: bool, kept: bool) -> None:
        """Go on, in the loop, with a connection whose request is answered."""
        self._count(about_health, -1)
        connection.answered += 1
        connection.socket.setblocking(False)
        unread = not connection.incoming.ended
        if not kept:
            self._linger(connection, DRAIN_SECONDS if unread else LINGER_SECONDS)
        elif unread:
            connection.enter(State.DRAINED, DRAIN_SECONDS)
            self._watch(connection)
        else:
            self._next(connection)

    def _next(self, connection: Connection) -> None:
        """Wait for the next request on a connection, or take it up if it is here."""
        rest = connection.incoming.rest
        connection.expect()
        connection.enter(State.IDLE, self.cfg.keepalive if self.alive else LINGER_SECONDS)
        self._unwatch(connection)
        self._watch(connection)
        if rest:
            try:
                connection.take(rest)
            except (ParseException, OSError) as error:
                self._refuse(connection, error) if isinstance(error, ParseException) else self._close(connection)
            else:
                self._advance(connection)

    # closing

    def _expire(self) -> None:
        """Close what has waited for too long, with an answer where one is due."""
        now = time.monotonic()
        for connection in [each for each in self._connections.values() if each.until < now]:
            state = connection.state
            if connection.is_pressed:
                self._say_and_close(connection, refusal.busy())
            elif state in (State.HEAD, State.BODY):
                self._say_and_close(connection, refusal.too_slow(state.value, self._seconds))
            elif state in (State.QUEUED, State.PAUSED):
                self._say_and_close(connection, refusal.busy())
            elif state is not State.RUNNING:
                self._close(connection)

    def _say_and_close(self, connection: Connection, answer: bytes) -> None:
        connection.say(answer)
        self._linger(connection)

    def _linger(self, connection: Connection, seconds: float = LINGER_SECONDS) -> None:
        """Close our side, and read on for a moment: a reset would take the answer from the caller."""
        connection.expect()
        try:
            connection.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        connection.enter(State.CLOSING, seconds)
        self._unwatch(connection)
        self._watch(connection)

    def _close(self, connection: Connection) -> None:
        self._unwatch(connection)
        connection.enter(State.CLOSING, 0)
        connection.is_pressed = False
        connection.socket.close()
        self._connections.pop(id(connection), None)


def _once(action: Callable[[], None]) -> Callable[[], None]:
    """Return a function that does `action` the first time it is called, in whatever thread."""
    left = [action]

    def act() -> None:
        with suppress(IndexError):
            left.pop()()

    return act
