"""PNG, JPEG and WebP headers, read by hand: a library's parser spends what the sender likes.

Pillow needs 6 seconds for a PNG of a million chunks and 7 for a JPEG of five million segments, allocates
a WebP's canvas, and refuses pictures with long comments. Each reader here takes at most a tenth of a second,
copies nothing but the EXIF block, and raises `struct.error` where the data ends too early and
`ValueError`, saying what is wrong, for the rest.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
MAX_PARTS = 100_000

# A progressive JPEG may have any number of scans, each 100 bytes long and up to a second of decoding at 64
# megapixels. Real ones have about ten.
MAX_SCANNED = 30 * 64_000_000  # scans times pixels
MAX_SCANS = 500
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True)
class Stored:
    """What a file says of its picture: pixels before the EXIF orientation, and how many frames it animates."""

    width: int
    height: int
    exif: bytes = b""
    alpha: bool = False
    frames: int = 1


def read_png(data: bytes) -> Stored:
    """Walk all chunks, as OpenCV 5 allocates whatever length a chunk claims, up to 4 GB."""
    found: dict[bytes, bytes] = {}
    kind, start = b"", len(PNG)
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            raise struct.error
        if kind in (b"IHDR", b"tRNS", b"acTL", b"eXIf"):
            found.setdefault(kind, data[start + 8 : end - 4])
        if kind == b"IEND":
            break
        start = end
    else:
        raise ValueError(f"it has more than {MAX_PARTS:,} chunks")
    width, height, _, colour = struct.unpack_from(">IIBB", found.get(b"IHDR", b""))
    frames, _ = struct.unpack_from(">II", found.get(b"acTL", b"\0\0\0\1\0\0\0\0"))
    alpha = colour in (4, 6) or (colour in (2, 3) and b"tRNS" in found)
    return Stored(width, height, found.get(b"eXIf", b""), alpha, frames)


def read_jpeg(data: bytes) -> Stored:
    """Walk the segments up to the first scan, and count the scans from there to the end of the picture."""
    width, height, exif, start = 0, 0, b"", 2
    for _ in range(MAX_PARTS):
        start = data.find(b"\xff", start)
        if start < 0:
            raise struct.error
        _, marker = struct.unpack_from("BB", data, start)
        if marker == 0xFF or marker in _BARE_MARKERS:
            start += 1 if marker == 0xFF else 2
            continue
        if marker in (0xD9, 0xDA):
            _bound_scans(data, start, width * height)
            return Stored(width, height, exif)
        (length,) = struct.unpack_from(">H", data, start + 2)
        if marker in _FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", data, start + 5)
        if marker == 0xE1 and not exif and data.startswith(b"Exif\0\0", start + 4):
            exif = data[start + 10 : start + 2 + length]
        start += 2 + max(length, 2)
    raise ValueError(f"it has more than {MAX_PARTS:,} segments")


def _bound_scans(data: bytes, start: int, pixels: int) -> None:
    """Raise where decoding would go over the picture too often. In coded data these two markers cannot occur."""
    end = data.find(b"\xff\xd9", start)
    scans = data.count(b"\xff\xda", start, end if end >= 0 else len(data))
    if scans > MAX_SCANS or scans * pixels > MAX_SCANNED:
        raise ValueError(f"it has {scans:,} scans of {pixels:,} pixels, more than {MAX_SCANNED:,} in all")


def read_webp(data: bytes) -> Stored:
    """Read the first chunk, and in the extended format walk the others for EXIF and frames."""
    first = data[12:16]
    if first == b"VP8X":
        flags, *sides = struct.unpack_from("<B3xHBHB", data, 20)
        width, height = (1 + low + (high << 16) for low, high in (sides[:2], sides[2:]))
        exif, frames = _webp_parts(data)
        return Stored(width, height, exif, bool(flags & 0x10), frames)
    if first == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Stored(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), alpha=bool(bits >> 28 & 1))
    if first == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Stored(width & 0x3FFF, height & 0x3FFF)
    raise ValueError(f"its first chunk is {first!r}")


def _webp_parts(data: bytes) -> tuple[bytes, int]:
    """Return the EXIF block, empty if there is none, and the number of frames, 1 for a still picture."""
    exif, frames, start = b"", 0, 12
    for _ in range(MAX_PARTS):
        if start + 8 > len(data):
            return exif, max(1, frames)
        kind, length = struct.unpack_from("<4sI", data, start)
        if kind == b"EXIF":
            exif = exif or data[start + 8 : start + 8 + length]
        frames += kind == b"ANMF"
        start += 8 + length + length % 2
    raise ValueError(f"it has more than {MAX_PARTS:,} chunks")


def orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1..8; 1 where there is none that can be read, as everywhere."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4], "")
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == 0x0112:
                return value if order and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
