"""PNG headers, read by hand: a library's parser has no limits.

Pillow needs 6 seconds for a PNG of a million chunks, and OpenCV allocates whatever length a chunk claims, up to 4 GB.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from router.media.header_fields import Channels, ColourTags, Header

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 20_000  # a real file of 20 MB has 2,500, its encoder's buffer being 8 kB
_COLOURS = (b"cICP", b"iCCP", b"sRGB", b"cHRM", b"gAMA")
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PALETTE = 3
_MAX_SIDE = 1_000_000  # libpng's own
_HEAD = 1024  # bytes, more than those of any empty zlib stream
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True)
class Layout:
    """The layout of a PNG's samples; `pieces` are start and end of each IDAT."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    palette: bytes
    transparency: bytes
    pieces: tuple[tuple[int, int], ...]

    @property
    def bits(self) -> int:
        """Bits of a pixel."""
        return CHANNELS[self.colour] * self.depth

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The passes with pixels, one for a picture without interlacing."""
        if not self.interlaced:
            return (Grid(0, 0, 1, 1, self.width, self.height),)
        found = (
            Grid(left, top, across, down, -((left - self.width) // across), -((top - self.height) // down))
            for left, top, across, down in _PASSES
        )
        return tuple(grid for grid in found if grid.width and grid.height)

    @property
    def inflated(self) -> int:
        """Bytes of all filtered rows."""
        return sum(grid.height * (1 + self.row_bytes(grid.width)) for grid in self.grids)

    def row_bytes(self, width: int) -> int:
        return (width * self.bits + 7) // 8


@dataclass(frozen=True)
class Grid:
    """The pixels of a pass: each `across`-th from `left`, each `down`-th row from `top`."""

    left: int
    top: int
    across: int
    down: int
    width: int
    height: int

    def rows(self, first: int, count: int) -> tuple[slice, slice]:
        """Return the rows and columns of the picture for `count` rows of the pass."""
        top = self.top + first * self.down
        return slice(top, top + (count - 1) * self.down + 1, self.down), slice(self.left, None, self.across)


def read_png(data: bytes) -> Header:
    """Read all of a PNG but its pixels.

    Raise `ValueError`, saying what is wrong, and `struct.error` for data that ends too early.
    """
    found, pieces = _collected(data)
    layout = _layout(found, pieces)
    frames, _ = struct.unpack_from(">II", found.get(b"acTL", b"\0\0\0\1\0\0\0\0"))
    channels = Channels.RGB if layout.colour & 2 else Channels.GREY
    tags = ColourTags(channels, png={kind: found[kind] for kind in _COLOURS if kind in found})
    alpha = layout.colour in (4, 6) or bool(layout.transparency)
    exif = found.get(b"eXIf", b"")
    return Header("image/png", layout.width, layout.height, exif, alpha, frames, colour=tags, png=layout)


def _collected(data: bytes) -> tuple[dict[bytes, bytes], tuple[tuple[int, int], ...]]:
    """Return the header's chunks by type, and start and end of each IDAT's content."""
    found: dict[bytes, bytes] = {}
    pieces: list[tuple[int, int]] = []
    before = b""
    for kind, start, end in _chunks(data):
        if kind == b"IDAT":
            if pieces and before != kind:
                raise ValueError("its pixels are in several parts")
            pieces.append((start + 8, end - 4))
        elif kind in (b"IHDR", b"PLTE", b"tRNS", b"acTL", b"eXIf"):
            found.setdefault(kind, data[start + 8 : end - 4])
        elif kind in _COLOURS and kind not in found and not pieces:  # behind the pixels they mean nothing
            found[kind] = data[start + 8 : end - 4] if is_whole(data, start, end) else b""
        if kind in (b"IHDR", b"PLTE") and not is_whole(data, start, end):
            raise ValueError(f"its {kind.decode()} is damaged")
        before = kind
    return found, tuple(pieces)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    start = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            raise struct.error
        yield kind, start, end
        if kind == b"IEND":
            return
        start = end
    raise ValueError(f"it has more than {MAX_CHUNKS:,} chunks")


def is_whole(data: bytes, start: int, end: int) -> bool:
    """Say whether the check sum of a chunk is right."""
    return zlib.crc32(memoryview(data)[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])


def _layout(found: dict[bytes, bytes], pieces: tuple[tuple[int, int], ...]) -> Layout:
    width, height, depth, colour, packing, filters, interlace = struct.unpack_from(">IIBBBBB", found.get(b"IHDR", b""))
    if depth not in _DEPTHS.get(colour, ()) or packing or filters or interlace > 1:
        raise ValueError("its header is not that of a PNG")
    if max(width, height) > _MAX_SIDE:
        raise ValueError(f"it has {width} x {height} pixels, and a side may have {_MAX_SIDE:,}")
    palette, transparency = found.get(b"PLTE", b""), found.get(b"tRNS", b"")
    if colour == PALETTE and (not palette or len(palette) % 3 or len(palette) > 768):
        raise ValueError("its palette is missing or damaged")
    if len(transparency) < {0: 2, 2: 6, PALETTE: 1}.get(colour, 2**32):
        transparency = b""
    if colour == PALETTE and len(transparency) > len(palette) // 3:  # libpng and browsers read over it
        transparency = b""
    layout = Layout(width, height, depth, colour, interlace == 1, palette, transparency, pieces)
    most = layout.inflated + layout.inflated // 1000 + _HEAD + 64 * len(pieces)  # of a packer that packs nothing
    if (packed := sum(end - start for start, end in pieces)) > most:
        raise ValueError(f"it has {packed:,} bytes of pixels, and its size needs {layout.inflated:,}")
    return layout
