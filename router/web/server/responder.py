"""The answering half of a worker: queues of requests and a thread pool."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from gunicorn.http import wsgi
from gunicorn.workers.base import Worker as GunicornWorker

from router.web.server import refusal
from router.web.server.backpressure import HELD_BODIES, LARGE_BYTES
from router.web.server.connection import SEND_SECONDS, Connection, State
from router.web.server.connections import Connections
from router.web.server.environ import ENDS, RELEASE

Action = Callable[[], None]
HEALTH = ("/healthz", "/health", "/readyz", "/metrics")
HEALTH_THREADS = 4  # reserved for HEALTH


class Responder:
    """Queues requests and answers each in a thread.

    `call_soon` runs a function in the event loop.
    """

    def __init__(
        self, worker: GunicornWorker, connections: Connections, call_soon: Callable[[Action], None], max_body: int
    ) -> None:
        self._worker = worker
        self._connections = connections
        self._call_soon = call_soon
        self._max_held = HELD_BODIES * max_body
        self._threads = ThreadPoolExecutor(worker.cfg.threads, thread_name_prefix="request")
        self._health: deque[Connection] = deque()
        self._small: deque[Connection] = deque()
        self._large: deque[Connection] = deque()
        self._num_running = Counter[bool]()  # threads, by whether they are for HEALTH
        self._held = 0  # bytes of large bodies in threads, and of what is made of them

    def enqueue(self, connection: Connection) -> None:
        incoming = connection.incoming
        if incoming.size > LARGE_BYTES:
            self._large.append(connection)
        elif incoming.request is not None and incoming.request.path in HEALTH:
            self._health.append(connection)
        else:
            self._small.append(connection)

    def start_queued(self) -> None:
        while self._health and self._num_running[True] < HEALTH_THREADS:
            connection = self._health.popleft()
            if connection.is_writable():
                self._start(connection, is_health=True)
            else:
                self._connections.close(connection)  # its answers are not read: one more would block a thread
        free = self._worker.cfg.threads - HEALTH_THREADS
        while self._small and self._num_running[False] < free:
            self._start(self._small.popleft())
        while self._large and self._num_running[False] < free and self._fits(self._large[0]):
            self._start(self._large.popleft())

    def shutdown(self) -> None:
        self._threads.shutdown(wait=False)

    def _fits(self, connection: Connection) -> bool:
        return self._held == 0 or self._held + connection.incoming.size <= self._max_held

    def _start(self, connection: Connection, *, is_health: bool = False) -> None:
        if connection.state is not State.QUEUED:  # closed meanwhile
            return
        connection.state = State.RUNNING
        size = connection.incoming.size if connection.incoming.size > LARGE_BYTES else 0
        self._held += size
        self._num_running[is_health] += 1
        try:
            self._threads.submit(self._answer, connection, is_health, size)
        except RuntimeError as error:  # the system has no thread to give: a running one takes the request later
            self._worker.log.error("no thread could be started: %s", error)

    def _release(self, size: int) -> None:
        self._held -= size

    def _answer(self, connection: Connection, is_health: bool, size: int) -> None:
        """Answer a request in this thread, then return the connection to the event loop."""
        keep = False
        try:
            with ExitStack() as ends:
                body = ends.enter_context(ExitStack())  # closed once the body is freed, at the latest at the end
                body.callback(self._call_soon, partial(self._release, size))
                connection.socket.settimeout(SEND_SECONDS)
                keep = self._call_application(connection, {ENDS: ends, RELEASE: body.close})
        except OSError as error:  # the client has gone, or reads nothing
            self._worker.log.debug("a client has left: %s", error)
        except Exception:
            self._worker.log.exception("a request could not be answered")
        finally:
            self._call_soon(partial(self._finish, connection, is_health, keep))

    def _finish(self, connection: Connection, is_health: bool, keep: bool) -> None:
        self._num_running[is_health] -= 1
        self._connections.finish(connection, keep=keep)

    def _call_application(self, connection: Connection, more: Mapping[str, object]) -> bool:
        """Send the application's answer; return whether the connection can be kept."""
        request = connection.incoming.request
        assert request is not None
        request.body = connection.incoming.body()
        cfg = self._worker.cfg
        response, environ = wsgi.create(request, connection.socket, connection.address, connection.server, cfg)
        environ |= {"wsgi.multithread": True, **more}
        if not self._worker.alive or connection.incoming.is_unwanted:
            response.force_close()
        try:
            pieces: Iterable[bytes] = self._worker.wsgi(environ, response.start_response)
            _send(response, pieces, environ["wsgi.file_wrapper"])
        except OSError:
            raise
        except Exception:
            if not response.headers_sent:
                connection.send_now(refusal.answer(*refusal.FAILED))
            raise
        return not response.should_close()


def _send(response: wsgi.Response, pieces: Iterable[bytes], file_wrapper: type) -> None:
    try:
        if isinstance(pieces, file_wrapper):
            response.write_file(pieces)
        else:
            for piece in pieces:
                response.write(piece)
        response.close()
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
