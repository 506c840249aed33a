"""Decoders of a picture's samples: OpenCV, Pillow, pillow-heif, ours for PNG."""

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from router.media import scanlines
from router.media.conversion import Samples
from router.media.header import broken, invalid
from router.media.header_fields import Channels, Header
from router.media.heif import AVIF, HEIC
from router.media.jpeg import bare_jpeg
from router.media.webp import bare_webp

BAND = 2**17  # pixels whose light, in 32-bit floats, stays in a core's cache
Band = tuple[slice, slice, Samples]

# the decoders of others raise whatever broken bytes lead to
_FAILURES = (
    OSError, SyntaxError, ValueError, TypeError, RuntimeError, EOFError, LookupError, ArithmeticError, struct.error,
)  # fmt: skip


def is_rgb(media_type: str) -> bool:
    """Say whether a type is read as RGB; OpenCV reads others as BGR."""
    return media_type in (HEIC, AVIF, "image/png")


def read_bands(data: bytes, header: Header, converted: bool) -> Iterator[Band]:
    """Yield rows, columns and their samples; raise `InvalidRequest` for a broken picture.

    Grey has two axes; grey with alpha, RGB or BGR, with alpha or not, and CMYK have their channels on the third. Where
    neither colours nor transparency are to be converted OpenCV makes RGB.
    """
    if header.png is not None:
        try:
            yield from scanlines.bands(data, header.png)
        except ValueError as error:
            raise broken(header.media_type, str(error)) from None
        return
    stored = _whole(data, header, converted)
    if stored is None or stored.shape[:2] != (header.height, header.width):
        raise broken(header.media_type, "it cannot be decoded")
    is_shown = not converted and not header.alpha and stored.ndim == 3 and stored.dtype == np.uint8
    rows = header.height if is_shown else max(1, BAND // stored.shape[1])
    for top in range(0, len(stored), rows):
        yield slice(top, top + rows), slice(None), stored[top : top + rows]


def _whole(data: bytes, header: Header, converted: bool) -> Samples | None:
    """Return all samples, None for a broken picture; raise `InvalidRequest` without the needed package."""
    import cv2

    if header.media_type == HEIC:
        return _heic(data, header)
    if header.media_type == AVIF:
        return _avif(data, header)
    bare = bare_jpeg(data) if header.media_type == "image/jpeg" else bare_webp(data)
    if converted and header.colour.channels is Channels.CMYK:
        return _pillow(bare, "JPEG", ("CMYK",))
    if not converted and not header.alpha:
        return _imdecode(bare, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return _imdecode(bare, cv2.IMREAD_UNCHANGED)


def _imdecode(data: bytes, flags: int) -> Samples | None:
    import cv2

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)  # type: ignore[return-value]
    except cv2.error:
        return None


def _pillow(data: bytes, kind: str, modes: tuple[str, ...]) -> Samples | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            return np.asarray(picture) if picture.mode in modes else None
    except _FAILURES:
        return None


def _avif(data: bytes, header: Header) -> Samples | None:
    from PIL import features

    if not features.check("avif"):
        raise _missing("AVIF", "Pillow 11.3 or newer with AVIF")
    samples = _pillow(data, "AVIF", ("L", "RGB", "RGBA"))
    if samples is None:
        return None
    left, top = header.corner
    return samples[top : top + header.height, left : left + header.width]


def _heic(data: bytes, header: Header) -> Samples | None:
    """Return a HEIC's samples, 8 or 16 bits, rotated and cropped by libheif."""
    try:
        import pillow_heif
    except ImportError:
        raise _missing("HEIC", "pillow-heif") from None
    try:
        picture = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
        if picture.premultiplied_alpha:
            picture = pillow_heif.open_heif(data)
            samples: Any = np.asarray(picture.to_pillow().convert("RGBA"))
        else:
            samples = np.asarray(picture)
    except _FAILURES:
        return None
    if samples.shape[0] > header.height + 1 or samples.shape[1] > header.width + 1:
        return None
    return samples[: header.height, : header.width]  # type: ignore[no-any-return]  # a crop may end within a pixel


def _missing(kind: str, package: str) -> Exception:
    return invalid(f"an image in {kind} needs {package} on this server, which is missing: send it as PNG or JPEG")
