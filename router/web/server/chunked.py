"""Bodies in chunks (RFC 9112 7.1); extensions and trailers are ignored."""

import re
from enum import Enum

from gunicorn.http.errors import InvalidChunkSize, LimitRequestHeaders

LINE_BYTES = 256  # a size in hexadecimal and its extension, without the line's end
FREE_CHUNKS = 10_000  # of any size; more chunks need CHUNK_BYTES on average
CHUNK_BYTES = 64  # a chunk costs the same work whatever its size
TRAILER_BYTES = 8 * 2**10
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?")


class Part(Enum):
    SIZE = "a chunk's size"
    DATA = "a chunk's data"
    END = "the line end after a chunk"
    TRAILER = "a trailer"


class ChunkedBody:
    """A body in chunks: `ready` when complete or over `max_bytes`, `ended` when complete."""

    def __init__(self, max_bytes: int) -> None:
        self.ready = self.ended = False
        self._max_bytes = max_bytes
        self._data = bytearray()
        self._num_chunks = self._num_bytes = 0
        self._missing = 0  # bytes of the current chunk
        self._line = bytearray()
        self._next = Part.SIZE
        self._num_trailer_bytes = 0

    @property
    def size(self) -> int:
        return len(self._data)

    def receive(self, data: bytes) -> bytes:
        """Take the body's bytes, and return the rest."""
        at = 0
        while at < len(data) and not self.ended:
            at = self._receive_data(data, at) if self._next is Part.DATA else self._receive_line(data, at)
        return data[at:]

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data

    def _receive_data(self, data: bytes, at: int) -> int:
        piece = data[at : at + self._missing]
        self._missing -= len(piece)
        if not self.ready:
            self._data += piece
            self.ready = len(self._data) > self._max_bytes
        if self._missing == 0:
            self._next = Part.END
        return at + len(piece)

    def _receive_line(self, data: bytes, at: int) -> int:
        """Collect a line from `data[at:]`, parse a complete one, return the next offset."""
        end = data.find(b"\n", at)
        self._line += data[at : end + 1 if end >= 0 else len(data)]
        limit = TRAILER_BYTES if self._next is Part.TRAILER else LINE_BYTES
        if len(self._line) > limit + 2:
            raise InvalidChunkSize(b"a line of %d bytes" % len(self._line))
        if end < 0:
            return len(data)
        line = bytes(self._line)
        self._line.clear()
        if not line.endswith(b"\r\n"):
            raise InvalidChunkSize(line[:LINE_BYTES])
        self._read_line(line[:-2])
        return end + 1

    def _read_line(self, line: bytes) -> None:
        if self._next is Part.TRAILER:
            self._num_trailer_bytes += len(line)
            if self._num_trailer_bytes > TRAILER_BYTES:
                raise LimitRequestHeaders(f"trailers may have {TRAILER_BYTES:,} bytes")
            self.ended = not line
            self.ready = self.ready or self.ended
        elif self._next is Part.END:
            if line:
                raise InvalidChunkSize(line)
            self._next = Part.SIZE
        else:
            self._read_size(line)

    def _read_size(self, line: bytes) -> None:
        found = SIZE_LINE.fullmatch(line)
        if found is None:
            raise InvalidChunkSize(line)
        self._missing = int(found[1], 16)
        self._next = Part.DATA if self._missing else Part.TRAILER
        self._num_chunks += 1
        self._num_bytes += self._missing
        if self._num_chunks > FREE_CHUNKS + self._num_bytes // CHUNK_BYTES:
            raise InvalidChunkSize(b"chunks of less than %d bytes" % CHUNK_BYTES)
