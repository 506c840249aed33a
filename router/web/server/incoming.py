"""One HTTP request, received in any pieces; gunicorn parses its head."""

from io import BytesIO
from typing import Any

from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import LimitRequestHeaders, NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from router.web.server.chunked import ChunkedBody

HEAD_END = b"\r\n\r\n"
HEAD_BYTES = 32 * 2**10


class Body(BytesIO):
    """The application's `wsgi.input`; it drops its bytes once they are read."""

    # a body of many megabytes would otherwise be kept twice for as long as its request is answered
    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if data and self.tell() == self.getbuffer().nbytes:
            self.seek(0)
            self.truncate()
        return data


class Incoming:
    """A request in transfer: `ready` for the application, `ended` after its last byte.

    A body over `max_bytes` is ready at once, or as soon as more bytes are here; what follows is dropped.
    """

    def __init__(self, cfg: Any, address: Any, number: int, max_bytes: int) -> None:
        self.request: Request | None = None
        self.rest = b""  # bytes behind this request
        self.awaits_continue = False
        # the sender of a body that is too large waits for a go-ahead, gets none, and may send the body or not
        self.is_unwanted = False
        self._cfg, self._address, self._number, self._max_bytes = cfg, address, number, max_bytes
        self._head = bytearray()
        self._body: SizedBody | ChunkedBody = SizedBody(0, max_bytes)

    @property
    def ready(self) -> bool:
        return self.request is not None and self._body.ready

    @property
    def ended(self) -> bool:
        return self.request is not None and self._body.ended

    @property
    def size(self) -> int:
        """The bytes that are kept."""
        return len(self._head) + self._body.size

    def body(self) -> Body:
        return Body(self._body.take())

    def receive(self, data: bytes) -> None:
        """Take more bytes; raises gunicorn's `ParseException` for invalid HTTP."""
        if self.request is None:
            data = self._receive_head(data)
        if self.request is not None and data:
            self.rest += self._body.receive(data)

    def _receive_head(self, data: bytes) -> bytes:
        """Collect the head and return the bytes behind it."""
        if not self._head:
            data = data.lstrip(b"\r\n")  # RFC 9112 2.2: empty lines may come before a request
        searched = max(0, len(self._head) - len(HEAD_END) + 1)
        self._head += data
        end = self._head.find(HEAD_END, searched)
        if end < 0 and not self._is_hopeless():
            return b""
        head = bytes(self._head[: end + len(HEAD_END)] if end >= 0 else self._head)
        behind = bytes(self._head[len(head) :])
        self._head.clear()
        if len(head) > HEAD_BYTES:
            raise LimitRequestHeaders(f"headers may have {HEAD_BYTES:,} bytes in all")
        self._parse(head)
        return behind

    def _is_hopeless(self) -> bool:
        """Say whether an incomplete head is invalid already; the parser then says why."""
        head = self._head
        too_long = len(head) > HEAD_BYTES or (len(head) > self._cfg.limit_request_line + 2 and b"\r\n" not in head)
        return too_long or head.count(b"\n") != head.count(b"\r\n")

    def _parse(self, head: bytes) -> None:
        try:
            request = Request(self._cfg, IterUnreader([head]), self._address, self._number)
        except NoMoreData as error:
            raise LimitRequestHeaders("the headers have no end") from error
        reader = request.body.reader
        if isinstance(reader, ChunkedReader):
            self._body = ChunkedBody(self._max_bytes)
        else:
            self._body = SizedBody(reader.length if isinstance(reader, LengthReader) else 0, self._max_bytes)
        self.awaits_continue = request._expected_100_continue and not self._body.ready
        self.is_unwanted = request._expected_100_continue and self._body.ready and not self._body.ended
        request._expected_100_continue = False  # gunicorn would answer it once the body is here
        self.request = request


class SizedBody:
    """A body of known length: `ready` when complete or too large, `ended` when complete."""

    def __init__(self, length: int, max_bytes: int) -> None:
        self.ended = length == 0
        self._is_kept = length <= max_bytes
        self.ready = self.ended or not self._is_kept
        self._missing = length
        self._data = bytearray()

    @property
    def size(self) -> int:
        return len(self._data)

    def receive(self, data: bytes) -> bytes:
        piece, rest = data[: self._missing], data[self._missing :]
        self._missing -= len(piece)
        if self._is_kept:
            self._data += piece
        self.ended = self._missing == 0
        self.ready = self.ready or self.ended
        return rest

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data
