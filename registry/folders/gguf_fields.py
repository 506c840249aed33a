"""The values in a GGUF header (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

import struct
from collections.abc import Mapping

MAX_HEADER_BYTES = 32 * 2**20  # those of umT5 with its vocabulary have 6 MB
MOST_STRINGS = 1_000_000  # of a header; umT5's vocabulary has 256,384
MOST_ARRAYS = 10_000  # in other arrays
MOST_KEPT = 16  # elements of an array that is returned: a shape
MOST_DEEP = 4  # arrays in an array
MOST_NAME = 1000  # bytes
STRING, ARRAY = 8, 9
BYTES: Mapping[int, int] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # by kind of value
WHOLE: Mapping[int, str] = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 10: "<Q", 11: "<q"}
_LONG = struct.Struct("<Q").unpack_from


class Short(Exception):
    """The bytes end within the header: more of the file is needed."""


class Broken(Exception):
    """A wrong header; the message follows the file's name."""


class Fields:
    """Reads values one after the other from the first bytes of a file."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.position = position
        self._data = data
        self._counts: dict[str, int] = {}

    def whole(self, kind: str) -> int:
        at = self._take(struct.calcsize(kind))
        value: int = struct.unpack_from(kind, self._data, at)[0]
        return value

    def text(self, most: int = MAX_HEADER_BYTES) -> str:
        return self._text(most).decode("utf-8", "replace")

    def value(self, kind: int) -> object:
        """Return a whole number, a text or a short list; None for others."""
        if kind in WHOLE:
            return self.whole(WHOLE[kind])
        if kind == STRING:
            text = self._text(MAX_HEADER_BYTES)
            return text.decode("utf-8", "replace") if len(text) <= MOST_NAME else None
        if kind == ARRAY:
            return self._array(1)
        self._take(self._size(kind))
        return None

    def _array(self, depth: int) -> list[int] | None:
        if depth > MOST_DEEP:
            raise Broken(f"has arrays nested over {MOST_DEEP} deep in its header")
        kind, count = self.whole("<I"), self.whole("<Q")
        if kind in WHOLE and count <= MOST_KEPT:
            return [self.whole(WHOLE[kind]) for _ in range(count)]
        if kind == STRING:
            self._skip_texts(count)
        elif kind == ARRAY:
            self._count(count, MOST_ARRAYS, "arrays")
            for _ in range(count):
                self._array(depth + 1)
        else:
            self._take(count * self._size(kind))
        return None

    def _skip_texts(self, count: int) -> None:
        self._count(count, MOST_STRINGS, "texts")
        data, position, last = self._data, self.position, len(self._data) - 8
        for _ in range(count):
            if position > last:
                if position > MAX_HEADER_BYTES:
                    break
                raise Short
            position += 8 + _LONG(data, position)[0]
        self._take(position - self.position)

    def _count(self, count: int, most: int, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + count
        if self._counts[what] > most:
            raise Broken(f"has more than {most:,} {what} in its header")

    def _text(self, most: int) -> bytes:
        length = self.whole("<Q")
        if length > most:
            raise Broken(f"has a text of {length:,} bytes in its header, more than {most:,}")
        start = self._take(length)
        return self._data[start : start + length]

    def _take(self, count: int) -> int:
        """Return the position of the next `count` bytes, and pass them."""
        start = self.position
        if start + count > MAX_HEADER_BYTES:
            raise Broken(f"has {count:,} bytes of a value in its header, which may have {MAX_HEADER_BYTES:,} in all")
        if start + count > len(self._data):
            raise Short
        self.position = start + count
        return start

    def _size(self, kind: int) -> int:
        if kind not in BYTES:
            raise Broken(f"has a value of the unknown kind {kind} in its header")
        return BYTES[kind]
