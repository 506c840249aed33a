"""Hostile pictures: whole ones of every format, and random damage to them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from random import Random

import numpy as np
import pillow_heif
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
LINE = b"2026-01-01 00:00:00 ERROR router.web forged\n\x1b[31m"
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
FORMS = (
    (0, 1),
    (0, 2),
    (0, 4),
    (0, 8),
    (0, 16),
    (2, 8),
    (2, 16),
    (3, 1),
    (3, 2),
    (3, 4),
    (3, 8),
    (4, 8),
    (4, 16),
    (6, 8),
    (6, 16),
)


@dataclass(frozen=True)
class Case:
    """A picture, and how it was made."""

    name: str
    data: bytes


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int,
    height: int,
    colour: int,
    depth: int,
    *,
    interlaced: bool = False,
    more: bytes = b"",
    dice: Random | None = None,
) -> bytes:
    """Return a PNG of any kind, rows filtered in all five ways."""
    bits = _CHANNELS[colour] * depth

    def rows(width: int, height: int) -> bytes:
        size = (width * bits + 7) // 8
        if dice is None:
            return (b"\1" + bytes(size)) * height
        return b"".join(bytes([dice.randrange(5)]) + dice.randbytes(size) for _ in range(height))

    grids = [(width, height)]
    if interlaced:
        grids = [(-((left - width) // across), -((top - height) // down)) for left, top, across, down in _PASSES]
    body = zlib.compress(b"".join(rows(*grid) for grid in grids if min(grid) > 0))
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    middle = len(body) // 2
    pixels = chunk(b"IDAT", body[:middle]) + chunk(b"IDAT", body[middle:])
    return PNG + head + more + palette + pixels + chunk(b"IEND", b"")


def scene(width: int, height: int, mode: str = "RGB") -> Image.Image:
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 // width, y * 255 // height, (x + 2 * y) * 255 // (width + 2 * height), (x * y) % 256]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8), "RGBA").convert(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def heic(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(picture).save(stream, quality=60)
    return stream.getvalue()


def exif() -> bytes:
    block = Image.Exif()
    block[0x0112] = 6
    return block.tobytes()


@cache
def whole(width: int = 61, height: int = 47) -> tuple[Case, ...]:
    """Return a whole picture of each kind that is taken."""
    dice, plain, clear = Random(7), scene(width, height), scene(width, height, "RGBA")
    pngs = [
        Case(
            f"PNG type {colour} of {depth} bits{', interlaced' * interlaced}",
            png(width, height, colour, depth, interlaced=interlaced, dice=dice),
        )
        for colour, depth in FORMS
        for interlaced in (False, True)
    ]
    return (
        *pngs,
        Case("PNG of Pillow's, EXIF", encoded(plain, "PNG", exif=exif())),
        Case("JPEG", encoded(plain, "JPEG")),
        Case("JPEG 4:4:4, EXIF", encoded(plain, "JPEG", subsampling=0, quality=97, exif=exif())),
        Case("JPEG progressive", encoded(plain, "JPEG", progressive=True)),
        Case("JPEG with restarts", encoded(plain, "JPEG", restart_marker_blocks=3)),
        Case("JPEG grey", encoded(plain.convert("L"), "JPEG")),
        Case("JPEG CMYK", encoded(plain.convert("CMYK"), "JPEG")),
        Case("JPEG CMYK progressive", encoded(plain.convert("CMYK"), "JPEG", progressive=True)),
        Case("WebP", encoded(plain, "WEBP")),
        Case("WebP with alpha", encoded(clear, "WEBP", exif=exif())),
        Case("WebP lossless", encoded(clear, "WEBP", lossless=True)),
        Case("AVIF", encoded(plain, "AVIF", speed=10)),
        Case("AVIF with alpha", encoded(clear, "AVIF", speed=10)),
        Case("HEIC", heic(plain)),
        Case("HEIC with alpha", heic(clear)),
    )


def animations(width: int = 31, height: int = 23) -> tuple[Case, ...]:
    frames = [scene(width, height), scene(width, height).rotate(90), scene(width, height).rotate(180)]
    return tuple(
        Case(f"{kind}, animated", encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
        for kind in ("PNG", "WEBP", "GIF")
    )


def bombs() -> tuple[Case, ...]:
    """Return small files that ask for much work, some of them legal."""
    zeros = zlib.compress(bytes(30_000_000), 9)
    tail, small = png(64, 64, 2, 8)[33:], png(64, 64, 2, 8)
    head = small[:33]
    progressive = encoded(scene(1500, 1000), "JPEG", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    grey = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG"))
    at = grey.index(b"\xff\xc0") + 5
    grey[at : at + 4] = struct.pack(">HH", 8000, 8000)
    return (
        Case("PNG that inflates to 30 MB", head + chunk(b"IDAT", zeros) + chunk(b"IEND", b"")),
        Case("PNG with 3 MB behind its pixels", small[:-12] + chunk(b"IDAT", bytes(3_000_000)) + small[-12:]),
        Case("PNG with a large text", head + chunk(b"zTXt", b"a\0\0" + zeros) + tail),
        Case("PNG with a large international text", head + chunk(b"iTXt", b"a\0\1\0\0\0" + zeros) + tail),
        Case("PNG with a large profile", head + chunk(b"iCCP", b"a\0\0" + zeros) + tail),
        Case("PNG with a profile of a name", head + chunk(b"iCCP", LINE[:70] + b"\0\0" + zlib.compress(bytes(200))) + tail),
        Case("PNG of many texts", head + chunk(b"tEXt", b"a\0b") * 15_000 + tail),
        Case("PNG of many chunks of pixels", head + chunk(b"IDAT", b"") * 15_000 + tail),
        Case("PNG of 6 megapixels, 16 bits, interlaced", png(2500, 2500, 6, 16, interlaced=True)),
        Case("PNG a row high", png(900_000, 1, 6, 16)),
        Case("PNG a column wide", png(1, 900_000, 6, 16)),
        Case("JPEG of 64 megapixels in 700 bytes", bytes(grey)),
        Case("JPEG of 60 scans", progressive[:-2] + scan * 60 + b"\xff\xd9"),
        Case("JPEG of 2,000 scans", progressive[:-2] + scan * 2000 + b"\xff\xd9"),
        Case("JPEG of comments", progressive[:2] + b"\xff\xfe\xff\xff" * 1 + bytes(65_533) + progressive[2:]),
        Case("JPEG of many comments", progressive[:2] + b"\xff\xfe\0\2" * 15_000 + progressive[2:]),
        Case("JPEG of 16 megapixels", encoded(Image.new("RGB", (4000, 4000)), "JPEG", progressive=True)),
        Case("WebP of 16 megapixels", encoded(Image.new("RGBA", (4000, 4000)), "WEBP", lossless=True, method=0)),
        Case("WebP of many chunks", _sized(encoded(scene(64, 64), "WEBP", exif=exif()) + b"JUNK\0\0\0\0" * 15_000)),
        Case("AVIF of 9 megapixels", encoded(Image.new("RGBA", (3000, 3000)), "AVIF", speed=10)),
    )  # fmt: skip


def corpus(count: int, seed: int) -> Iterator[Case]:
    """Yield `count` pictures: whole ones, animations, bombs, then damaged ones."""
    yield from islice(_all(Random(seed)), count)


def _all(dice: Random) -> Iterator[Case]:
    yield from (*whole(), *animations(), *bombs())
    seeds = (*whole(), *whole(16, 16), *animations())
    while True:
        case = dice.choice(seeds)
        rule = dice.choice(_rules(case.data))
        data = rule(dice, case.data)
        if dice.random() < 0.3:
            data = _bytes_changed(dice, data)
        yield Case(f"{case.name}: {rule.__name__.strip('_')}", data)


Rule = Callable[[Random, bytes], bytes]


def _rules(data: bytes) -> tuple[Rule, ...]:
    """Return the possible damages to a file and its parts."""
    if data.startswith(b"GIF"):
        return (_truncated, _bytes_changed)
    return (
        _truncated,
        _bytes_changed,
        _part_dropped,
        _part_repeated,
        _part_inflated,
        _parts_swapped,
        _size_changed,
        _spliced,
    )


def _truncated(dice: Random, data: bytes) -> bytes:
    return data[: dice.randrange(len(data))]


def _bytes_changed(dice: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice([1, 2, 4, 16])):
        at = dice.randrange(min(len(changed), dice.choice([64, 300, len(changed)])) or 1)
        new = dice.choice([dice.randbytes(3), b"", b"\xff" * 4, bytes(4)])
        changed[at : at + dice.choice([0, len(new)])] = new
    return bytes(changed)


def _part_dropped(dice: Random, data: bytes) -> bytes:
    head, parts = _parts(data)
    parts.pop(dice.randrange(len(parts)))
    return _joined(head, parts)


def _part_repeated(dice: Random, data: bytes) -> bytes:
    head, parts = _parts(data)
    at = dice.randrange(len(parts))
    return _joined(head, parts[:at] + [parts[at]] * dice.choice([2, 3, 50, 1000]) + parts[at:])


def _part_inflated(dice: Random, data: bytes) -> bytes:
    """Return a PNG with a chunk of another inflated size, or a lengthened part."""
    head, parts = _parts(data)
    at = dice.randrange(len(parts))
    if data.startswith(PNG):
        kind = dice.choice([parts[at][4:8], b"IDAT", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tRNS", b"PLTE"])
        packed = zlib.compress(bytes(dice.choice([1, 500, 2_000_000])))
        parts[at] = chunk(kind, (b"" if kind == b"IDAT" else b"a\0\0") + packed)
    else:
        parts[at] += bytes(dice.choice([1, 1000, 300_000]))
    return _joined(head, parts)


def _parts_swapped(dice: Random, data: bytes) -> bytes:
    head, parts = _parts(data)
    dice.shuffle(parts)
    return _joined(head, parts)


def _size_changed(dice: Random, data: bytes) -> bytes:
    """Return a file with another size or depth in a valid header."""
    sides = [dice.choice([0, 1, 17, 60, 62, 500, 1500, 20_000, 2**31]) for _ in range(2)]
    if data.startswith(PNG):
        rest = bytes([dice.choice([1, 2, 4, 8, 16, 3]), dice.choice([0, 2, 3, 4, 6, 1]), 0, 0, dice.choice([0, 1])])
        return PNG + chunk(b"IHDR", struct.pack(">II", *sides) + dice.choice([rest, data[24:29]])) + data[33:]
    changed = bytearray(data)
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        if data.startswith(b"\xff\xd8") and (at := data.find(marker)) > 0:
            changed[at + 5 : at + 9] = struct.pack(">HH", *(side % 65536 for side in sides))
    if data.startswith(b"RIFF"):
        changed[24:30] = struct.pack("<I", sides[0])[:3] + struct.pack("<I", sides[1])[:3]
    if (at := data.find(b"ispe")) > 0:
        changed[at + 8 : at + 16] = struct.pack(">II", *sides)
    return bytes(changed)


def _spliced(dice: Random, data: bytes) -> bytes:
    other = dice.choice(whole()).data
    return data[: dice.randrange(len(data))] + other[dice.randrange(len(other)) :]


def _parts(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return the first bytes of a file, and its chunks, segments or boxes."""
    ends: list[int] = []
    if data.startswith(PNG):
        head, at = 8, 8
        while at < len(data):
            at += 12 + int.from_bytes(data[at : at + 4])
            ends.append(at)
    elif data.startswith(b"\xff\xd8"):
        head, at = 2, 2
        while at < len(data) and data[at : at + 2] not in (b"\xff\xd9", b""):
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
            while at < len(data) and (data[at] != 0xFF or data[at + 1] in (0, *range(0xD0, 0xD8))):
                at += 1
            ends.append(at)
        ends.append(len(data))
    elif data.startswith(b"RIFF"):
        head, at = 12, 12
        while at < len(data):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8 + size + size % 2
            ends.append(at)
    else:
        head, at = 0, 0
        while at < len(data):
            at += max(8, int.from_bytes(data[at : at + 4]))
            ends.append(at)
    return data[:head], [data[start:end] for start, end in zip([head, *ends], ends, strict=False)]


def _joined(head: bytes, parts: list[bytes]) -> bytes:
    data = head + b"".join(parts)
    return _sized(data) if data.startswith(b"RIFF") else data


def _sized(data: bytes) -> bytes:
    """Return a WebP whose head says how long it is."""
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
