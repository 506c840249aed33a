"""What may come in as a picture, decided by its header, before anything is decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from registry.models import IMAGE_BYTES, IMAGE_PIXELS
from router.errors import InvalidRequest
from router.media import exif, heif, jpeg, png, webp
from router.media.header_fields import Stored
from router.media.orientation import TURNS, Turn
from router.media.tags import ColourTags

MAX_BYTES = IMAGE_BYTES
MAX_PIXELS = IMAGE_PIXELS


TYPES = "PNG, JPEG, WebP, HEIC or AVIF"


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
    corner: tuple[int, int]
    png: png.Layout | None


def inspect(data: bytes, *, param: str = "", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Tell what picture `data` is without decoding it; one that passes may still prove broken in `decode`.

    Raise `InvalidRequest` (`invalid_image`) unless it is a PNG, JPEG, WebP, HEIC or AVIF of at most
    `max_bytes` and `max_pixels`. An animation is refused: to drop all but one of its pictures would be silent.
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
    if stored.pictures > 1:
        raise invalid(f"an image must be a single picture, got a file of {stored.pictures:,}", param)
    return Header(
        media_type,
        stored.width,
        stored.height,
        TURNS[exif.orientation(stored.exif)] if stored.turn is None else stored.turn,
        stored.alpha,
        stored.exif,
        stored.colour,
        stored.corner,
        stored.png,
    )


def broken(media_type: str, param: str, reason: str) -> InvalidRequest:
    return invalid(f"an image must be whole and readable, got a broken {media_type}: {reason}", param)


def invalid(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="invalid_image")


def _read(data: bytes, param: str) -> tuple[str, Stored]:
    if data.startswith(png.SIGNATURE):
        media_type = "image/png"
    elif data.startswith(jpeg.START):
        media_type = "image/jpeg"
    elif webp.is_webp(data):
        media_type = "image/webp"
    elif heif.is_heif(data):
        media_type = heif.AVIF if data[8:11] == b"avi" else heif.HEIC
    else:
        raise invalid(f"an image must be a {TYPES}, got {len(data):,} bytes of something else", param)
    try:
        if reader := _READERS.get(media_type):
            return media_type, reader(data)
        return heif.read_heif(data)
    except (struct.error, IndexError):
        raise broken(media_type, param, "it ends too early") from None
    except ValueError as error:
        raise broken(media_type, param, str(error)) from None


_READERS = {"image/png": png.read_png, "image/jpeg": jpeg.read_jpeg, "image/webp": webp.read_webp}
