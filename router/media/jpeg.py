"""JPEG headers and scans, read by hand: a library's parser has no limits.

`read_jpeg` raises `struct.error` where the data ends too early and `ValueError`, saying what is wrong, for the rest.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from router.media.header_fields import Channels, ColourTags, Header

START = b"\xff\xd8\xff"
MAX_SEGMENTS = 20_000
# A progressive JPEG may have any number of scans, each of a few bytes, and each goes over the whole picture. Real ones
# have about ten. The nanoseconds are those of libjpeg-turbo at its slowest.
MAX_SCANS = 500
BLOCK_NS = 21.0  # a block in a scan without data for it
BYTE_NS, CORRECTION_NS = 8.0, 35.0  # a byte of a scan, and of one that corrects others
# The limit of all scans, for each block and beyond that; a progressive picture of nothing but noise takes 900.
ALL_NS, SMALL_NS = 1024.0, 25e6
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODED = frozenset({0xC0, 0xC1, 0xC2})  # Huffman-coded, as browsers show them: neither lossless nor arithmetic
_PROGRESSIVE = 0xC2
_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_END_OF_SCAN = re.compile(b"\xff[^\x00\x01\xd0-\xd7\xff]")
_ICC = b"ICC_PROFILE\0"
_EOI, _SOS = 0xD9, 0xDA


@dataclass(frozen=True)
class _Frame:
    """A frame header; `blocks` counts each component's blocks of 8 x 8 samples."""

    marker: int
    width: int
    height: int
    blocks: dict[int, int]

    @classmethod
    def read(cls, data: bytes, start: int, marker: int) -> _Frame:
        height, width, count = struct.unpack_from(">HHB", data, start + 5)
        found = [struct.unpack_from("BB", data, start + 10 + 3 * number) for number in range(count)]
        if not found or not all(1 <= factor >> 4 <= 4 and 1 <= factor & 15 <= 4 for _, factor in found):
            raise ValueError("its components have no size")
        across, down = max(factor >> 4 for _, factor in found), max(factor & 15 for _, factor in found)
        blocks = {
            number: _blocks(width * (factor >> 4), across) * _blocks(height * (factor & 15), down)
            for number, factor in found
        }
        return cls(marker, width, height, blocks)


def _blocks(samples: int, factor: int) -> int:
    return -(-samples // (8 * factor))


def read_jpeg(data: bytes) -> Header:
    """Read the segments and the scans up to the end of the picture."""
    exif, start = b"", 2
    frame: _Frame | None = None
    pieces = list[bytes]()
    for marker, start, end in _segments(data):
        if marker in _FRAMES:
            if frame is not None:
                raise ValueError("it has several frames")
            frame = _Frame.read(data, start, marker)
        if marker == 0xE1 and not exif and data.startswith(b"Exif\0\0", start + 4):
            exif = data[start + 10 : end]
        if marker == 0xE2 and data.startswith(_ICC, start + 4):
            pieces.append(data[start + 4 + len(_ICC) : end])
    if frame is None:
        raise ValueError("it has no size")
    if frame.marker not in _DECODED:
        raise ValueError(f"its pixels are coded in a way that browsers do not show (SOF{frame.marker - 0xC0})")
    if frame.width and frame.height:
        _bound_scans(data, end, frame)
    channels = {1: Channels.GREY, 4: Channels.CMYK}.get(len(frame.blocks), Channels.RGB)
    tags = ColourTags(channels, *_joined(pieces))
    return Header("image/jpeg", frame.width, frame.height, exif, colour=tags)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the segments up to the first scan's marker."""
    start = 2
    for _ in range(MAX_SEGMENTS):
        start = data.find(b"\xff", start)
        if start < 0:
            raise struct.error
        _, marker = struct.unpack_from("BB", data, start)
        if marker == 0xFF or marker in _BARE:
            start += 1 if marker == 0xFF else 2
            continue
        if marker in (_EOI, _SOS):
            yield marker, start, start
            return
        (length,) = struct.unpack_from(">H", data, start + 2)
        end = start + 2 + max(length, 2)
        yield marker, start, end
        start = end
    raise ValueError(f"it has more than {MAX_SEGMENTS:,} segments")


def _joined(pieces: list[bytes]) -> tuple[bytes, str]:
    """Return the profile in APP2 segments, each after number and count, or the problem."""
    if not pieces:
        return b"", ""
    ordered = sorted(pieces, key=lambda piece: piece[:1])
    numbers = [(*piece[:2],) for piece in ordered]
    if numbers != [(number, len(pieces)) for number in range(1, len(pieces) + 1)]:
        return b"", "its segments do not fit together"
    return b"".join(piece[2:] for piece in ordered), ""


def bare_jpeg(data: bytes) -> bytes:
    """Return a JPEG of sound segments without its metadata."""
    # JFIF's and Adobe's markers stay: they tell RGB from YCbCr
    kept, end = [data[:2]], 2
    for marker, start, end in _segments(data):
        jfif = marker == 0xE0 and data.startswith(b"JFIF\0", start + 4)
        if jfif or marker == 0xEE or not (marker == 0xFE or 0xE0 <= marker <= 0xEF):
            kept.append(data[start:end])
    return b"".join([*kept, data[end:]])


def _bound_scans(data: bytes, start: int, frame: _Frame) -> None:
    """Raise for a scan too short for its blocks, and for too much work."""
    needed_bits = 1 if frame.marker == _PROGRESSIVE else 2  # of a block: its first number, and the end of the others
    nanoseconds, seen = 0.0, set[int]()
    most = sum(frame.blocks.values()) * ALL_NS + SMALL_NS
    for scans, (numbers, is_first, is_correction, size) in enumerate(_scans(data, start), 1):
        if not frame.blocks.keys() >= set(numbers):
            raise ValueError("one of its scans is of another picture")
        blocks = sum(frame.blocks[number] for number in numbers)
        if (is_first or needed_bits == 2) and size * 8 < blocks * needed_bits:
            raise struct.error
        seen.update(numbers if is_first else ())
        nanoseconds += blocks * BLOCK_NS + size * (CORRECTION_NS if is_correction else BYTE_NS)
        if scans > MAX_SCANS or nanoseconds > most:
            raise ValueError(f"its first {scans:,} scans of {frame.width * frame.height:,} pixels are too many")
    if seen != frame.blocks.keys():
        raise struct.error


def _scans(data: bytes, start: int) -> Iterator[tuple[bytes, bool, bool, int]]:
    """Yield each scan: components, whether it is their first, whether a correction, its bytes."""
    for _ in range(MAX_SEGMENTS):
        head, marker = struct.unpack_from("BB", data, start)
        if head != 0xFF:
            raise struct.error
        if marker == _EOI:
            return
        (length,) = struct.unpack_from(">H", data, start + 2)
        end = start + 2 + max(length, 2)
        if marker == _SOS:
            (count,) = struct.unpack_from("B", data, start + 4)
            numbers = data[start + 5 : start + 5 + 2 * count : 2]
            first, _, bits = struct.unpack_from("BBB", data, start + 5 + 2 * count)
        found = _END_OF_SCAN.search(data, end)
        if found is None:
            raise struct.error
        if marker == _SOS:
            yield numbers, first == 0 and bits < 16, bits >= 16, found.start() - end
        start = found.start()
    raise ValueError(f"it has more than {MAX_SEGMENTS:,} segments")
