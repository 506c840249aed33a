"""WebP headers, read by hand.

A library's parser allocates the canvas, and walks any number of chunks. `read_webp` raises `struct.error` where the
data ends too early and `ValueError`, saying what is wrong, for the rest.
"""

import struct
from collections.abc import Iterator

from router.media.header_fields import ColourTags, Header

MAX_CHUNKS = 20_000
_PIXELS = (b"VP8 ", b"VP8L", b"ALPH")
_ALPHA, _PROFILE = 0x10, 0x20


def is_webp(data: bytes) -> bool:
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def read_webp(data: bytes) -> Header:
    """Read the first chunk, and in the extended format EXIF, profile and frames."""
    first = data[12:16]
    if first != b"VP8X":
        width, height, alpha = _size(data, first, 20)
        _ = list(_chunks(data))
        return Header("image/webp", width, height, alpha=alpha)
    flags, *sides = struct.unpack_from("<B3xHBHB", data, 20)
    width, height = (1 + low + (high << 16) for low, high in (sides[:2], sides[2:]))
    exif, profile, frames, pixels = b"", b"", 0, 0
    for kind, start, end in _chunks(data):
        if kind == b"EXIF":
            exif = exif or data[start:end]
        if kind == b"ICCP":
            profile = profile or data[start:end]
        frames += kind == b"ANMF"
        if kind in (b"VP8 ", b"VP8L"):
            pixels += 1
            if _size(data, kind, start)[:2] != (width, height):
                raise ValueError("its canvas has another size than its pixels")
    if not frames and pixels != 1:
        raise ValueError(f"it has {pixels:,} pictures on one canvas")
    tags = ColourTags(profile=profile if flags & _PROFILE else b"")  # ignored without the flag, as by libwebp
    return Header("image/webp", width, height, exif, bool(flags & _ALPHA), max(1, frames), colour=tags)


def _size(data: bytes, kind: bytes, start: int) -> tuple[int, int, bool]:
    """Return width, height and transparency of a chunk of pixels."""
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, start + 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, start + 6)
        return width & 0x3FFF, height & 0x3FFF, False
    raise ValueError(f"its first chunk is {kind!r}")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of each chunk's content; pixels must be whole."""
    size = int.from_bytes(data[4:8], "little") + 8
    end, start = min(size, len(data)), 12
    for _ in range(MAX_CHUNKS):
        if start + 8 > end:
            return
        kind, length = struct.unpack_from("<4sI", data, start)
        if start + 8 + length > len(data) and kind in _PIXELS:
            raise struct.error
        yield kind, start + 8, start + 8 + length
        start += 8 + length + length % 2
    raise ValueError(f"it has more than {MAX_CHUNKS:,} chunks")


def bare_webp(data: bytes) -> bytes:
    kept = b"".join(
        data[start - 8 : end] + b"\0" * ((end - start) % 2)
        for kind, start, end in _chunks(data)
        if kind in (*_PIXELS, b"VP8X", b"ANIM", b"ANMF")
    )
    if kept.startswith(b"VP8X"):
        flags = kept[8] & ~(0x20 | 0x08 | 0x04)  # its profile, EXIF and XMP
        kept = kept[:8] + bytes([flags]) + kept[9:]
    return b"RIFF" + struct.pack("<I", 4 + len(kept)) + b"WEBP" + kept
