"""The header of a picture: type, size and limits, without decoding."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from registry.models import IMAGE_BYTES, IMAGE_PIXELS
from router.errors import InvalidRequest
from router.media import heif, jpeg, png, webp
from router.media.header_fields import Header

MAX_BYTES = IMAGE_BYTES
MAX_PIXELS = IMAGE_PIXELS
TYPES = "PNG, JPEG, WebP, HEIC or AVIF"


@dataclass(frozen=True)
class ImageInfo:
    """A picture's type by its content, and its upright size in pixels."""

    media_type: str
    width: int
    height: int


def inspect(data: bytes, *, param: str = "", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Return a picture's type and size, without decoding it.

    Raise `InvalidRequest` (`invalid_image`) about `param` unless it is a PNG, JPEG, WebP, HEIC or AVIF of at most
    `max_bytes` and `max_pixels`, and a single picture. `decode` may still find it broken.
    """
    with about(param):
        header = read_header(data, max_bytes, max_pixels)
    if header.orientation.transpose:
        return ImageInfo(header.media_type, header.height, header.width)
    return ImageInfo(header.media_type, header.width, header.height)


def read_header(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Header:
    """Check a picture as `inspect` does, and return its header for `decode`."""
    if len(data) > max_bytes:
        raise invalid(f"an image may have up to {max_bytes:,} bytes, got {len(data):,}")
    header = _read(data)
    if header.width < 1 or header.height < 1:
        raise broken(header.media_type, "it has no size")
    hold_pixels(header.width, header.height, max_pixels)
    if header.frames > 1:  # to drop all but one would be silent
        raise invalid(f"an image must be a single picture, got an animation of {header.frames:,} frames")
    if header.pictures > 1:
        raise invalid(f"an image must be a single picture, got a file of {header.pictures:,}")
    return header


def hold_pixels(width: int, height: int, max_pixels: int, param: str = "") -> None:
    """Raise `InvalidRequest` (`invalid_image`) beyond a limit."""
    if width * height > max_pixels:
        with about(param):
            raise invalid(f"an image may have up to {max_pixels:,} pixels, got {width} x {height}")


@contextmanager
def about(param: str) -> Iterator[None]:
    """Name the field of the request in each `InvalidRequest` of the block."""
    try:
        yield
    except InvalidRequest as error:
        error.param = param
        raise


def broken(media_type: str, reason: str) -> InvalidRequest:
    return invalid(f"an image must be whole and readable, got a broken {media_type}: {reason}")


def invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_image")


def _read(data: bytes) -> Header:
    read: Callable[[bytes], Header]
    if data.startswith(png.SIGNATURE):
        media_type, read = "image/png", png.read_png
    elif data.startswith(jpeg.START):
        media_type, read = "image/jpeg", jpeg.read_jpeg
    elif webp.is_webp(data):
        media_type, read = "image/webp", webp.read_webp
    elif heif.is_heif(data):
        media_type, read = heif.AVIF if data[8:11] == b"avi" else heif.HEIC, heif.read_heif
    else:
        raise invalid(f"an image must be a {TYPES}, got {len(data):,} bytes of something else")
    try:
        return read(data)
    except (struct.error, IndexError):
        raise broken(media_type, "it ends too early") from None
    except ValueError as error:
        raise broken(media_type, str(error)) from None
