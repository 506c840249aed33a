"""The header of a picture: type, size and limits, without decoding."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from registry.models import IMAGE_BYTES, IMAGE_PIXELS
from router.errors import InvalidRequest
from router.media import exif, heif, jpeg, png, webp
from router.media.header_fields import HeaderFields
from router.media.orientation import EXIF_ORIENTATIONS, Orientation
from router.media.tags import ColourTags

MAX_BYTES = IMAGE_BYTES
MAX_PIXELS = IMAGE_PIXELS
TYPES = "PNG, JPEG, WebP, HEIC or AVIF"


@dataclass(frozen=True)
class ImageInfo:
    """A picture's type by its content, and its upright size in pixels."""

    media_type: str
    width: int
    height: int


@dataclass(frozen=True)
class Header:
    """A checked header, with the size in pixels as stored, before the orientation."""

    media_type: str
    width: int
    height: int
    orientation: Orientation
    alpha: bool
    exif: bytes
    colour: ColourTags
    corner: tuple[int, int]
    png: png.Layout | None


def inspect(data: bytes, *, param: str = "", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Return a picture's type and size, without decoding it.

    Raise `InvalidRequest` (`invalid_image`) unless it is a PNG, JPEG, WebP, HEIC or AVIF of at most
    `max_bytes` and `max_pixels`, and a single picture. `decode` may still find it broken.
    """
    header = read_header(data, param=param, max_bytes=max_bytes, max_pixels=max_pixels)
    if header.orientation.transpose:
        return ImageInfo(header.media_type, header.height, header.width)
    return ImageInfo(header.media_type, header.width, header.height)


def read_header(data: bytes, *, param: str = "", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Header:
    """Check a picture as `inspect` does, and return its header for `decode`."""
    if len(data) > max_bytes:
        raise invalid(f"an image may have up to {max_bytes:,} bytes, got {len(data):,}", param)
    media_type, found = _read(data, param)
    if found.width < 1 or found.height < 1:
        raise broken(media_type, param, "it has no size")
    if found.width * found.height > max_pixels:
        raise invalid(f"an image may have up to {max_pixels:,} pixels, got {found.width} x {found.height}", param)
    if found.frames > 1:  # to drop all but one would be silent
        raise invalid(f"an image must be a single picture, got an animation of {found.frames:,} frames", param)
    if found.pictures > 1:
        raise invalid(f"an image must be a single picture, got a file of {found.pictures:,}", param)
    return Header(
        media_type,
        found.width,
        found.height,
        EXIF_ORIENTATIONS[exif.orientation(found.exif)] if found.orientation is None else found.orientation,
        found.alpha,
        found.exif,
        found.colour,
        found.corner,
        found.png,
    )


def broken(media_type: str, param: str, reason: str) -> InvalidRequest:
    return invalid(f"an image must be whole and readable, got a broken {media_type}: {reason}", param)


def invalid(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="invalid_image")


def _read(data: bytes, param: str) -> tuple[str, HeaderFields]:
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
