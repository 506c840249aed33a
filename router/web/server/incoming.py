"""One request as it arrives, in any pieces: its head by gunicorn's parser, its body bounded. No sockets."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any, Protocol

from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import InvalidChunkSize, LimitRequestHeaders, NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

HEAD_END = b"\r\n\r\n"
HEAD_BYTES = 32 * 2**10
CHUNK_LINE_BYTES = 256  # a size in hexadecimal and its extension, without the line's end
FREE_CHUNKS = 10_000  # of any size; beyond them they must have
CHUNK_BYTES = 64  # on average, as each costs as much as its work, however small
TRAILER_BYTES = 8 * 2**10
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?")


class Body(BytesIO):
    """What the application reads as `wsgi.input`; once it is read, its bytes are the reader's alone."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if data and self.tell() == self.getbuffer().nbytes:
            self.seek(0)
            self.truncate()
        return data


class Receiver(Protocol):
    """A body that arrives: `ready` for the application, `ended` when nothing of it is to come."""

    ready: bool
    ended: bool

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        ...

    def receive(self, data: bytes) -> bytes:
        """Take what belongs to the body, and return the rest."""
        ...

    def body(self) -> bytes:
        """Hand over what was kept."""
        ...


class Incoming:
    """One request. `ready` says that the application can have it, `ended` that nothing of it is to come.

    A body over `most` bytes is ready at once, or when so much of it is there: the rest is thrown away as it arrives.
    """

    def __init__(self, cfg: Any, address: Any, number: int, most: int) -> None:
        self.request: Request | None = None
        self.rest = b""  # what came behind this request
        self.awaits_continue = False
        self.is_unwanted = False  # a body whose sender waits for a go-ahead that does not come, and may not send it
        self._cfg, self._address, self._number, self._most = cfg, address, number, most
        self._head = bytearray()
        self._receiver: Receiver = Sized(0, most)

    @property
    def ready(self) -> bool:
        return self.request is not None and self._receiver.ready

    @property
    def ended(self) -> bool:
        return self.request is not None and self._receiver.ended

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return len(self._head) + self._receiver.size

    def body(self) -> Body:
        return Body(self._receiver.body())

    def receive(self, data: bytes) -> None:
        """Take more of the request; raises gunicorn's `ParseException` for what is none."""
        if self.request is None:
            data = self._receive_head(data)
        if self.request is not None and data:
            self.rest += self._receiver.receive(data)

    def _receive_head(self, data: bytes) -> bytes:
        """Take the head and return what follows it."""
        if not self._head:
            data = data.lstrip(b"\r\n")  # RFC 9112 2.2: empty lines may come before a request
        searched = max(0, len(self._head) - len(HEAD_END) + 1)
        self._head += data
        end = self._head.find(HEAD_END, searched)
        if end < 0 and not self._is_hopeless():
            return b""
        head = bytes(self._head[: end + len(HEAD_END)] if end >= 0 else self._head)
        follows = bytes(self._head[len(head) :])
        self._head.clear()
        if len(head) > HEAD_BYTES:
            raise LimitRequestHeaders(f"headers may have {HEAD_BYTES:,} bytes in all")
        self._begin(head)
        return follows

    def _is_hopeless(self) -> bool:
        """Say whether a head without an end will never be one, so that the parser can say why."""
        head = self._head
        too_long = len(head) > HEAD_BYTES or (len(head) > self._cfg.limit_request_line + 2 and b"\r\n" not in head)
        return too_long or head.count(b"\n") != head.count(b"\r\n")

    def _begin(self, head: bytes) -> None:
        try:
            request = Request(self._cfg, IterUnreader([head]), self._address, self._number)
        except NoMoreData as error:
            raise LimitRequestHeaders("the headers have no end") from error
        reader = request.body.reader
        if isinstance(reader, ChunkedReader):
            self._receiver = Chunked(self._most)
        else:
            self._receiver = Sized(reader.length if isinstance(reader, LengthReader) else 0, self._most)
        self.awaits_continue = request._expected_100_continue and not self._receiver.ready
        self.is_unwanted = request._expected_100_continue and self._receiver.ready and not self._receiver.ended
        request._expected_100_continue = False  # gunicorn would say it when the body is here
        self.request = request


class Sized:
    """A body whose length is known."""

    def __init__(self, length: int, most: int) -> None:
        self.ended = length == 0
        self._kept = length <= most
        self.ready = self.ended or not self._kept
        self._left = length
        self._data = bytearray()

    @property
    def size(self) -> int:
        return len(self._data)

    def receive(self, data: bytes) -> bytes:
        piece, rest = data[: self._left], data[self._left :]
        self._left -= len(piece)
        if self._kept:
            self._data += piece
        self.ended = self._left == 0
        self.ready = self.ready or self.ended
        return rest

    def body(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


class Chunked:
    """A body in chunks (RFC 9112 7.1); extensions and trailers are read over."""

    def __init__(self, most: int) -> None:
        self.ready = self.ended = False
        self._most = most
        self._data = bytearray()
        self._taken = False
        self._chunks = self._bytes = 0
        self._left = 0  # of the chunk that arrives
        self._line = bytearray()
        self._expects = "size"  # or data, end, trailer
        self._trailers = 0

    @property
    def size(self) -> int:
        return len(self._data)

    def receive(self, data: bytes) -> bytes:
        at = 0
        while at < len(data) and not self.ended:
            at = self._receive_data(data, at) if self._expects == "data" else self._receive_line(data, at)
        return data[at:]

    def body(self) -> bytes:
        data, self._data, self._taken = bytes(self._data), bytearray(), True
        return data

    def _receive_data(self, data: bytes, at: int) -> int:
        piece = data[at : at + self._left]
        self._left -= len(piece)
        if not self._taken and not self.ready:
            self._data += piece
            self.ready = len(self._data) > self._most
        if self._left == 0:
            self._expects = "end"
        return at + len(piece)

    def _receive_line(self, data: bytes, at: int) -> int:
        """Take a line, or what is there of it, and do what it says."""
        end = data.find(b"\n", at)
        self._line += data[at : end + 1 if end >= 0 else len(data)]
        most = TRAILER_BYTES if self._expects == "trailer" else CHUNK_LINE_BYTES
        if len(self._line) > most + 2:
            raise InvalidChunkSize(b"a line of %d bytes" % len(self._line))
        if end < 0:
            return len(data)
        line = bytes(self._line)
        self._line.clear()
        if not line.endswith(b"\r\n"):
            raise InvalidChunkSize(line[:CHUNK_LINE_BYTES])
        self._follow(line[:-2])
        return end + 1

    def _follow(self, line: bytes) -> None:
        if self._expects == "trailer":
            self._trailers += len(line)
            if self._trailers > TRAILER_BYTES:
                raise LimitRequestHeaders(f"trailers may have {TRAILER_BYTES:,} bytes")
            self.ended = not line
            self.ready = self.ready or self.ended
        elif self._expects == "end":
            if line:
                raise InvalidChunkSize(line)
            self._expects = "size"
        else:
            found = CHUNK_LINE.fullmatch(line)
            if found is None:
                raise InvalidChunkSize(line)
            self._left = int(found[1], 16)
            self._expects = "data" if self._left else "trailer"
            self._chunks += 1
            self._bytes += self._left
            if self._chunks > FREE_CHUNKS + self._bytes // CHUNK_BYTES:
                raise InvalidChunkSize(b"chunks of less than %d bytes" % CHUNK_BYTES)
