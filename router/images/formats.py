"""PNG, JPEG and WebP headers, read by hand: a library's parser spends what the sender likes.

Pillow needs 6 seconds for a PNG of a million chunks and 7 for a JPEG of five million segments, allocates
a WebP's canvas, and refuses pictures with long comments. Each reader here takes at most a tenth of a second,
copies nothing but the EXIF block and what describes the colours, and raises `struct.error` where the data ends too
early and `ValueError`, saying what is wrong, for the rest.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from router.images.tags import Channels, ColourTags
from router.images.turn import Turn

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
MAX_PARTS = 100_000

# A progressive JPEG may have any number of scans, each 100 bytes long and up to a second of decoding at 64
# megapixels. Real ones have about ten.
MAX_SCANNED = 30 * 64_000_000  # scans times pixels
MAX_SCANS = 500
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_ICC = b"ICC_PROFILE\0"
_PNG_COLOURS = (b"cICP", b"iCCP", b"sRGB", b"cHRM", b"gAMA")


@dataclass(frozen=True)
class Stored:
    """A file's header: pixels before it is turned, frames, EXIF and colour tags.

    `turn` takes the place of the EXIF orientation; `corner` is the left and top of what is shown of the picture.
    """

    width: int
    height: int
    exif: bytes = b""
    alpha: bool = False
    frames: int = 1
    pictures: int = 1
    colour: ColourTags = field(default_factory=ColourTags)
    turn: Turn | None = None
    corner: tuple[int, int] = (0, 0)


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
        elif kind in _PNG_COLOURS and not {kind, b"IDAT"} & found.keys():  # behind the pixels they mean nothing
            whole = zlib.crc32(data[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])
            found[kind] = data[start + 8 : end - 4] if whole else b""
        elif kind == b"IDAT":
            found[kind] = b""
        if kind == b"IEND":
            break
        start = end
    else:
        raise ValueError(f"it has more than {MAX_PARTS:,} chunks")
    width, height, depth, colour = struct.unpack_from(">IIBB", found.get(b"IHDR", b""))
    frames, _ = struct.unpack_from(">II", found.get(b"acTL", b"\0\0\0\1\0\0\0\0"))
    tags = ColourTags(
        channels=Channels.RGB if colour & 2 else Channels.GREY,
        png={kind: found[kind] for kind in _PNG_COLOURS if kind in found},
        transparent_grey=_transparent_grey(found[b"tRNS"], depth) if colour == 0 and b"tRNS" in found else None,
    )
    alpha = colour in (4, 6) or b"tRNS" in found
    return Stored(width, height, found.get(b"eXIf", b""), alpha, frames, colour=tags)


def _transparent_grey(body: bytes, depth: int) -> int | None:
    """Return a tRNS chunk's grey, at 8 bits or 16 as decoded."""
    if len(body) < 2 or depth not in (1, 2, 4, 8, 16):
        return None
    grey = int.from_bytes(body[:2]) & ((1 << depth) - 1)
    return grey * 255 // ((1 << depth) - 1) if depth < 8 else grey


def read_jpeg(data: bytes) -> Stored:
    """Walk the segments up to the first scan, and count the scans from there to the end of the picture."""
    width, height, exif, start = 0, 0, b"", 2
    channels, pieces = Channels.RGB, list[bytes]()
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
            return Stored(width, height, exif, colour=ColourTags(channels, *_joined(pieces)))
        (length,) = struct.unpack_from(">H", data, start + 2)
        if marker in _FRAME_HEADERS:
            height, width, count = struct.unpack_from(">HHB", data, start + 5)
            channels = {1: Channels.GREY, 4: Channels.CMYK}.get(count, Channels.RGB)
        if marker == 0xE1 and not exif and data.startswith(b"Exif\0\0", start + 4):
            exif = data[start + 10 : start + 2 + length]
        if marker == 0xE2 and data.startswith(_ICC, start + 4):
            pieces.append(data[start + 4 + len(_ICC) : start + 2 + length])
        start += 2 + max(length, 2)
    raise ValueError(f"it has more than {MAX_PARTS:,} segments")


def _joined(pieces: list[bytes]) -> tuple[bytes, str]:
    """Return the profile of APP2 segments, each after number and count, or the problem."""
    if not pieces:
        return b"", ""
    ordered = sorted(pieces, key=lambda piece: piece[:1])
    numbers = [(*piece[:2],) for piece in ordered]
    if numbers != [(number, len(pieces)) for number in range(1, len(pieces) + 1)]:
        return b"", "its segments do not fit together"
    return b"".join(piece[2:] for piece in ordered), ""


def bare_jpeg(data: bytes) -> bytes:
    """Return a JPEG of sound segments without its metadata; Adobe's marker stays."""
    kept, start = [data[:2]], 2
    while (start := data.find(b"\xff", start)) >= 0:
        marker = data[start + 1]
        if marker == 0xFF or marker in _BARE_MARKERS:
            start += 1 if marker == 0xFF else 2
            continue
        if marker in (0xD9, 0xDA):
            break
        end = start + 2 + max(int.from_bytes(data[start + 2 : start + 4]), 2)
        if marker == 0xEE or not (marker == 0xFE or 0xE0 <= marker <= 0xEF):
            kept.append(data[start:end])
        start = end
    return b"".join([*kept, data[start:]])


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
        exif, profile, frames = _webp_parts(data)
        tags = ColourTags(profile=profile if flags & 0x20 else b"")  # read over without the flag, as libwebp does
        return Stored(width, height, exif, bool(flags & 0x10), frames, colour=tags)
    if first == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Stored(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), alpha=bool(bits >> 28 & 1))
    if first == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Stored(width & 0x3FFF, height & 0x3FFF)
    raise ValueError(f"its first chunk is {first!r}")


def _webp_parts(data: bytes) -> tuple[bytes, bytes, int]:
    """Return the EXIF block, the profile, and the count of frames, at least 1."""
    exif, profile, frames, start = b"", b"", 0, 12
    for _ in range(MAX_PARTS):
        if start + 8 > len(data):
            return exif, profile, max(1, frames)
        kind, length = struct.unpack_from("<4sI", data, start)
        if kind == b"EXIF":
            exif = exif or data[start + 8 : start + 8 + length]
        if kind == b"ICCP":
            profile = profile or data[start + 8 : start + 8 + length]
        frames += kind == b"ANMF"
        start += 8 + length + length % 2
    raise ValueError(f"it has more than {MAX_PARTS:,} chunks")
