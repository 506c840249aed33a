"""An HTTP server of `GET /metrics` alone, for a machine without the web half."""

import logging
import socket
from collections.abc import Callable
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from socketserver import ThreadingTCPServer
from threading import BoundedSemaphore, Thread, Timer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from router.errors import BootError
from router.runtime.variables import Address

PATH = "/metrics"
CALLERS = 8  # at once; further connections are closed
SECONDS = 10.0  # for which a connection lasts at most
PROXIES = ("forwarded", "via", "x-real-ip", "x-forwarded-")  # beginnings of their headers
log = logging.getLogger(__name__)


class MetricsServer(ThreadingTCPServer):
    """Serves the result of `page` on a thread of its own.

    Calls need the key; without one they must come from this machine, through no proxy. Raises
    `BootError` for an address that cannot be used.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: Address, key: str, page: Callable[[], bytes]) -> None:
        self.key = key.encode()
        self.page = page
        self._slots = BoundedSemaphore(CALLERS)
        try:
            found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
            self.address_family = found[0]
            super().__init__(address, _Handler)
        except OSError as error:
            raise BootError(
                f"cannot serve metrics on {address.host}, port {address.port}: {error.strerror or error}; "
                "FRAMEGATE_METRICS_LISTEN names another address"
            ) from error

    def start(self) -> None:
        Thread(target=self.serve_forever, name="metrics", daemon=True).start()
        log.info("metrics on port %d", self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._slots.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a connection to /metrics broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    server_version, sys_version = "framegate", ""

    def setup(self) -> None:
        super().setup()
        self._end = Timer(SECONDS, self.connection.shutdown, [socket.SHUT_RDWR])
        self._end.daemon = True
        self._end.start()

    def finish(self) -> None:
        self._end.cancel()
        super().finish()

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._answer(HTTPStatus.NOT_FOUND, b"only GET /metrics is here\n")
        elif self.server.key and not self._has_key():
            self._answer(HTTPStatus.FORBIDDEN, b"/metrics needs the key of FRAMEGATE_METRICS_KEY as 'Bearer KEY'\n")
        elif not self.server.key and not self._is_local():
            self._answer(HTTPStatus.FORBIDDEN, b"without FRAMEGATE_METRICS_KEY: direct calls to localhost only\n")
        else:
            self._answer(HTTPStatus.OK, self.server.page())

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        # also of other methods, which the library would answer with 501
        is_method = code == HTTPStatus.NOT_IMPLEMENTED
        self._answer(HTTPStatus.NOT_FOUND if is_method else HTTPStatus(code), b"only GET /metrics is here\n")

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)

    def _answer(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", CONTENT_TYPE_PLAIN_0_0_4)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _has_key(self) -> bool:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        brought = token.strip(" ").encode("latin-1", "replace")
        return compare_digest(brought, self.server.key) and scheme.lower() == "bearer"

    def _is_local(self) -> bool:
        """Say whether a call came directly over loopback, to a name of it."""
        is_direct = not any(name.lower().startswith(PROXIES) for name in self.headers)
        return is_direct and _is_loopback(self.client_address[0]) and _is_loopback(self._host())

    def _host(self) -> str:
        try:
            return urlsplit(f"//{self.headers.get('host', '')}").hostname or ""
        except ValueError:
            return ""


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
