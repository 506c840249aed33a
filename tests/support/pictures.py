"""Hostile pictures: whole ones of every format, animations and bombs."""

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cache
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


BOMBS = (
    "PNG that inflates to 30 MB",
    "PNG with 3 MB behind its pixels",
    "PNG with a large text",
    "PNG with a large international text",
    "PNG with a large profile",
    "PNG with a profile of a name",
    "PNG of many texts",
    "PNG of many chunks of pixels",
    "PNG of 6 megapixels, 16 bits, interlaced",
    "PNG a row high",
    "PNG a column wide",
    "JPEG of 64 megapixels in 700 bytes",
    "JPEG of 60 scans",
    "JPEG of 2,000 scans",
    "JPEG of comments",
    "JPEG of many comments",
    "JPEG of 16 megapixels",
    "WebP of 16 megapixels",
    "WebP of many chunks",
    "AVIF of 9 megapixels",
)


@cache
def bombs() -> dict[str, Case]:
    """Return small files that ask for much work, some of them legal."""
    zeros = zlib.compress(bytes(30_000_000), 9)
    tail, small = png(64, 64, 2, 8)[33:], png(64, 64, 2, 8)
    head = small[:33]
    progressive = encoded(scene(1500, 1000), "JPEG", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    grey = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG"))
    at = grey.index(b"\xff\xc0") + 5
    grey[at : at + 4] = struct.pack(">HH", 8000, 8000)
    data = (
        head + chunk(b"IDAT", zeros) + chunk(b"IEND", b""),
        small[:-12] + chunk(b"IDAT", bytes(3_000_000)) + small[-12:],
        head + chunk(b"zTXt", b"a\0\0" + zeros) + tail,
        head + chunk(b"iTXt", b"a\0\1\0\0\0" + zeros) + tail,
        head + chunk(b"iCCP", b"a\0\0" + zeros) + tail,
        head + chunk(b"iCCP", LINE[:70] + b"\0\0" + zlib.compress(bytes(200))) + tail,
        head + chunk(b"tEXt", b"a\0b") * 15_000 + tail,
        head + chunk(b"IDAT", b"") * 15_000 + tail,
        png(2500, 2500, 6, 16, interlaced=True),
        png(900_000, 1, 6, 16),
        png(1, 900_000, 6, 16),
        bytes(grey),
        progressive[:-2] + scan * 60 + b"\xff\xd9",
        progressive[:-2] + scan * 2000 + b"\xff\xd9",
        progressive[:2] + b"\xff\xfe\xff\xff" * 1 + bytes(65_533) + progressive[2:],
        progressive[:2] + b"\xff\xfe\0\2" * 15_000 + progressive[2:],
        encoded(Image.new("RGB", (4000, 4000)), "JPEG", progressive=True),
        encoded(Image.new("RGBA", (4000, 4000)), "WEBP", lossless=True, method=0),
        sized(encoded(scene(64, 64), "WEBP", exif=exif()) + b"JUNK\0\0\0\0" * 15_000),
        encoded(Image.new("RGBA", (3000, 3000)), "AVIF", speed=10),
    )  # fmt: skip
    return {name: Case(name, each) for name, each in zip(BOMBS, data, strict=True)}


def sized(data: bytes) -> bytes:
    """Return a WebP whose head says how long it is."""
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
