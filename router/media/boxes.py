"""The boxes of HEIF files, read by hand (ISO/IEC 14496-12 and 23008-12).

Each function raises `struct.error` for what ends too early and `ValueError`, saying what is wrong, for the rest.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_BOXES = 20_000
MAX_ITEMS = 10_000
MAX_EXTENTS = 20_000
MAX_REFERENCES = 100_000


@dataclass
class Item:
    """An item of a file: its kind, extents, and properties in order."""

    kind: bytes = b""
    hidden: bool = False
    in_data: bool = False
    extents: list[tuple[int, int]] = field(default_factory=list)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)

    def named(self, name: bytes) -> bytes | None:
        """Return the first property of a type."""
        return next((body for kind, body in self.properties if kind == name), None)


@dataclass
class Items:
    """The items of a file by number, their references (kind, from, to) and groups."""

    primary: int
    items: dict[int, Item]
    references: list[tuple[bytes, int, tuple[int, ...]]]
    groups: list[tuple[bytes, tuple[int, ...]]]
    data: bytes
    file: bytes
    copied: int = 0

    def body(self, item: Item) -> bytes:
        source, parts = (self.data if item.in_data else self.file), []
        for start, length in item.extents:
            end = start + length if length else len(source)
            if start > end or end > len(source):
                raise struct.error
            self.copied += end - start
            if self.copied > 2 * len(self.file):  # more than once, as items may share bytes
                raise ValueError("its items are longer than the file")
            parts.append(source[start:end])
        return b"".join(parts)

    def targets(self, kind: bytes, source: int) -> tuple[int, ...]:
        return next((to for name, number, to in self.references if (name, number) == (kind, source)), ())


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, start and end of the content of every box."""
    end = len(data) if end is None else end
    for _ in range(MAX_BOXES):
        if start >= end:
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, start + 8), 16
        stop = end if length == 0 else start + length
        if stop < start + head:
            raise ValueError("one of its boxes has no length")
        if stop > end:
            raise struct.error
        yield kind, start + head, stop
        start = stop
    raise ValueError(f"it has more than {MAX_BOXES:,} boxes")


def box(data: bytes, kind: bytes, start: int = 0, end: int | None = None) -> bytes:
    """Return the content of the first box of a type, empty without one."""
    return next((data[first:last] for name, first, last in boxes(data, start, end) if name == kind), b"")


def read_items(file: bytes, meta: bytes) -> Items:
    """Return the items of a `meta` box, given without its head."""
    found = {kind: meta[start:end] for kind, start, end in reversed(list(boxes(meta, 4)))}
    if b"pitm" not in found or b"iinf" not in found or b"iloc" not in found:
        raise ValueError("it has no primary picture")
    (primary,) = struct.unpack_from(">4xH" if found[b"pitm"][:1] == b"\0" else ">4xI", found[b"pitm"])
    items = _kinds(found[b"iinf"])
    _locations(found[b"iloc"], items)
    _properties(found.get(b"iprp", b""), items)
    references = list(_references(found.get(b"iref", b"")))
    groups = list(_groups(found.get(b"grpl", b"")))
    return Items(primary, items, references, groups, found.get(b"idat", b""), file)


def _kinds(iinf: bytes) -> dict[int, Item]:
    items: dict[int, Item] = {}
    for kind, start, end in boxes(iinf, 6 if iinf[:1] == b"\0" else 8):
        if kind != b"infe" or iinf[start] < 2:
            continue
        wide = iinf[start] > 2
        number, kind = struct.unpack_from(">I2x4s" if wide else ">H2x4s", iinf, start + 4)
        items[number] = Item(kind, hidden=bool(iinf[start + 3] & 1))
        texts = iinf[start + (14 if wide else 12) : end].split(b"\0", 3)
        if kind == b"mime" and len(texts) > 2 and texts[2]:  # libheif would inflate whatever it makes
            raise ValueError("its metadata is compressed")
        if len(items) > MAX_ITEMS:
            raise ValueError(f"it has more than {MAX_ITEMS:,} items")
    return items


def _locations(iloc: bytes, items: dict[int, Item]) -> None:
    version, sizes, more = struct.unpack_from(">B3xBB", iloc)
    offset, length, base = sizes >> 4, sizes & 15, more >> 4
    index = more & 15 if version else 0
    cursor = _Cursor(iloc, 6)
    extents = 0
    for _ in range(cursor.read(4 if version == 2 else 2)):
        item = items.get(cursor.read(4 if version == 2 else 2), Item())
        method = cursor.read(2) & 15 if version else 0
        elsewhere, first = cursor.read(2), cursor.read(base)
        if method > 1 or elsewhere:
            item.kind = b""  # its bytes are in another item or file
        item.in_data = method == 1
        count = cursor.read(2)
        extents += count
        if extents > MAX_EXTENTS:
            raise ValueError(f"it has more than {MAX_EXTENTS:,} extents")
        for _ in range(count):
            cursor.read(index)
            start = first + cursor.read(offset)
            item.extents.append((start, cursor.read(length)))


def _properties(iprp: bytes, items: dict[int, Item]) -> None:
    ipco = box(iprp, b"ipco")
    known = [(kind, ipco[start:end]) for kind, start, end in boxes(ipco)]
    count_of_all = 0
    for kind, start, _ in boxes(iprp):
        if kind != b"ipma":
            continue
        version, flags = iprp[start], iprp[start + 3]
        cursor = _Cursor(iprp, start + 4)
        for _ in range(cursor.read(4)):
            item = items.get(cursor.read(4 if version else 2), Item())
            count = cursor.read(1)
            count_of_all += count
            if count_of_all > 2 * MAX_BOXES:
                raise ValueError(f"it gives more than {2 * MAX_BOXES:,} properties")
            for _ in range(count):
                number = cursor.read(2) & 0x7FFF if flags & 1 else cursor.read(1) & 0x7F
                if 0 < number <= len(known):
                    item.properties.append(known[number - 1])


def _references(iref: bytes) -> Iterator[tuple[bytes, int, tuple[int, ...]]]:
    if not iref:
        return
    wide, total = 4 if iref[0] else 2, 0
    for kind, start, _ in boxes(iref, 4):
        cursor = _Cursor(iref, start)
        source, count = cursor.read(wide), cursor.read(2)
        total += count
        if total > MAX_REFERENCES:
            raise ValueError(f"it has more than {MAX_REFERENCES:,} references")
        yield kind, source, tuple(cursor.read(wide) for _ in range(count))


def _groups(grpl: bytes) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    for kind, start, end in boxes(grpl):
        (count,) = struct.unpack_from(">I", grpl, start + 8)
        if start + 12 + 4 * count > end or count > MAX_ITEMS:
            raise struct.error
        yield kind, struct.unpack_from(f">{count}I", grpl, start + 12)


class _Cursor:
    """A reader of whole numbers, the highest byte first."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._at = data, start

    def read(self, size: int) -> int:
        end = self._at + size
        if end > len(self._data):
            raise struct.error
        value = int.from_bytes(self._data[self._at : end])
        self._at = end
        return value
