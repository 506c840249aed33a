"""A TCP link to a server, to be cut, healed or made silent."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread

Pair = tuple[socket.socket, socket.socket]


class Link:
    """Relays connections from `port` of 127.0.0.1 to the server's."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._lock = Lock()
        self._pairs: list[Pair] = []
        self._flows = Event()
        self._flows.set()
        self._is_cut = False
        self._last_words: tuple[bytes, ...] = ()
        self.has_cut = Event()  # after the last words
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection, and each new one."""
        self._is_cut = True
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(pair)

    def cut_after(self, *words: bytes) -> None:
        """Cut the link once the server has heard these words, before its answer."""
        self.has_cut.clear()
        self._last_words = words

    def silence(self) -> None:
        """Relay nothing, and close nothing."""
        self._flows.clear()

    def heal(self) -> None:
        self._is_cut = False
        self._flows.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.heal()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            pair = client, socket.create_connection(("127.0.0.1", self._server))
            with self._lock:
                self._pairs.append(pair)
            for source, sink in (pair, pair[::-1]):
                Thread(target=self._relay, args=(source, sink, pair), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, pair: Pair) -> None:
        said = 0
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                words = self._last_words[said:] if source is pair[0] else ()
                said += bool(words) and words[0] in data
                if words and said == len(self._last_words):
                    self._end(data, pair)
                    return
                sink.sendall(data)
        _close(pair)

    def _end(self, data: bytes, pair: Pair) -> None:
        """Pass on the last words and cut the link before their answer arrives."""
        self._last_words = ()
        client, server = pair
        _shut(client)
        server.sendall(data)
        with suppress(OSError):  # the thread of the answers closes both ends at the first one
            server.shutdown(socket.SHUT_WR)  # the server does what it was told before it sees the end
            while server.recv(65536):
                pass
        self.cut()
        self.has_cut.set()


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _close(pair: Pair) -> None:
    for end in pair:
        _shut(end)
        end.close()


@contextmanager
def link_to(url: str) -> Iterator[tuple[Link, str]]:
    """Yield a link to a database's server, and the database's address over it."""
    front, _, name = url.rpartition("/")
    host, _, port = front.rpartition(":")
    link = Link(int(port))
    try:
        yield link, f"{host}:{link.port}/{name}"
    finally:
        link.close()
