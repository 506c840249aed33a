"""What may come in as a picture, decided by its header, before anything is decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from registry.models import IMAGE_BYTES, IMAGE_PIXELS
from router.errors import InvalidRequest
from router.images import exif, formats
from router.images.tags import ColourTags

MAX_BYTES = IMAGE_BYTES
MAX_PIXELS = IMAGE_PIXELS


class Turn(NamedTuple):
    """From the picture as stored to the picture as shown: transpose, then reverse rows, then reverse columns."""

    transpose: bool = False
    rows: bool = False
    columns: bool = False


_TURNS = {
    1: Turn(),
    2: Turn(columns=True),
    3: Turn(rows=True, columns=True),
    4: Turn(rows=True),
    5: Turn(transpose=True),
    6: Turn(transpose=True, columns=True),
    7: Turn(transpose=True, rows=True, columns=True),
    8: Turn(transpose=True, rows=True),
}


@dataclass(frozen=True)
class ImageInfo:
    """A picture's type by its content, and its size in pixels as shown, that is after its EXIF orientation."""

    media_type: str
    width: int
    height: int


@dataclass(frozen=True)
class Header:
    """What decoding needs: the size in pixels as stored, how to turn it, and whether it may be transparent."""

    media_type: str
    width: int
    height: int
    turn: Turn
    alpha: bool
    exif: bytes
    colour: ColourTags


def inspect(data: bytes, *, param: str = "", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Tell what picture `data` is without decoding it; one that passes may still prove broken in `decode`.

    Raise `InvalidRequest` (`invalid_image`) unless it is a PNG, JPEG or WebP of at most `max_bytes` and
    `max_pixels`. An animation is refused: to drop all but one of its pictures would be silent.
    """
    header = read_header(data, param=param, max_bytes=max_bytes, max_pixels=max_pixels)
    if header.turn.transpose:
        return ImageInfo(header.media_type, header.height, header.width)
    return ImageInfo(header.media_type, header.width, header.height)


def read_header(data: bytes, *, param: str = "", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Header:
    """Check what `inspect` checks, and return what `decode` needs."""
    if len(data) > max_bytes:
        raise invalid(f"an image may have up to {max_bytes:,} bytes, got {len(data):,}", param)
    media_type, stored = _read(data, param)
    if stored.width < 1 or stored.height < 1:
        raise broken(media_type, param, "it has no size")
    if stored.width * stored.height > max_pixels:
        raise invalid(f"an image may have up to {max_pixels:,} pixels, got {stored.width} x {stored.height}", param)
    if stored.frames > 1:
        raise invalid(f"an image must be a single picture, got an animation of {stored.frames:,} frames", param)
    turn = _TURNS[exif.orientation(stored.exif)]
    return Header(media_type, stored.width, stored.height, turn, stored.alpha, stored.exif, stored.colour)


def broken(media_type: str, param: str, reason: str) -> InvalidRequest:
    return invalid(f"an image must be whole and readable, got a broken {media_type}: {reason}", param)


def invalid(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="invalid_image")


def _read(data: bytes, param: str) -> tuple[str, formats.Stored]:
    if data.startswith(formats.PNG):
        media_type, reader = "image/png", formats.read_png
    elif data.startswith(formats.JPEG):
        media_type, reader = "image/jpeg", formats.read_jpeg
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        media_type, reader = "image/webp", formats.read_webp
    else:
        raise invalid(f"an image must be a PNG, JPEG or WebP, got {len(data):,} bytes of something else", param)
    try:
        return media_type, reader(data)
    except struct.error:
        raise broken(media_type, param, "it ends too early") from None
    except ValueError as error:
        raise broken(media_type, param, str(error)) from None
