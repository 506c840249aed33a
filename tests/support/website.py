"""A foreign web site on loopback: each path answers with prepared bytes."""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Thread

import pytest

Answer = bytes | Callable[[socket.socket], None]


class Website:
    """Counts `connections`; `heads` has the requests, `names` the TLS server names."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.connections = 0
        self.heads: list[str] = []
        self.names: list[str | None] = []
        self._tls = tls
        if tls is not None:
            tls.sni_callback = lambda _, name, __: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        Thread(target=self._accept, daemon=True).start()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            try:
                if self._tls is None:
                    self._answer(peer)
                else:
                    with self._tls.wrap_socket(peer, server_side=True) as secured:
                        self._answer(secured)
            except OSError:  # the client left
                return

    def _answer(self, peer: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (more := peer.recv(65536)):
                return
            head += more
        self.heads.append(head.decode())
        answer = self.answers.get(head.split()[1].decode(), status(404))
        if isinstance(answer, bytes):
            peer.sendall(answer)
        else:
            answer(peer)


@pytest.fixture
def site() -> Iterator[Website]:
    website = Website()
    yield website
    website.close()


def status(code: int, *headers: str, body: bytes = b"", length: int | None = None) -> bytes:
    """Return an answer with a status; `length` overrides its Content-Length."""
    lines = [f"HTTP/1.1 {code} So", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(url: str, code: int = 302) -> bytes:
    return status(code, f"Location: {url}")


def dripping(first: bytes, drops: Iterable[bytes], seconds: float = 0.02) -> Callable[[socket.socket], None]:
    """Return an answer in drops, each within a client's time-out."""

    def drip(peer: socket.socket) -> None:
        peer.sendall(first)
        for drop in drops:
            peer.sendall(drop)
            time.sleep(seconds)

    return drip
