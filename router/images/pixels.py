"""Pictures as arrays: decoded, turned upright, fitted to a size.

OpenCV's own limit on pixels counts only if it is set before the import.
"""

from __future__ import annotations

import math
import os

import numpy as np

from router.images.header import MAX_PIXELS, Turn, broken, read_header
from router.values import Pixels

MAX_ASPECT = 4.0
_BAND = 2**20

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))


def decode(data: bytes, *, param: str = "") -> Pixels:
    """Return the picture as RGB, uint8 of shape `(height, width, 3)`, in the size that `inspect` tells.

    What is transparent becomes white, as on a page. Raise `InvalidRequest` (`invalid_image`) for what
    `inspect` refuses, and for truncated or broken pictures.
    """
    import cv2

    header = read_header(data, param=param)
    stored = _over_white(_imdecode(data, cv2.IMREAD_UNCHANGED)) if header.alpha else None
    if stored is None:
        stored = _imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if stored is None or stored.shape != (header.height, header.width, 3):
        raise broken(header.media_type, param, "it cannot be decoded")
    return _turned(stored, header.turn)


def fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """Return `pixels` as `(height, width, 3)`: cropped around the centre, then resized; never stretched."""
    import cv2

    old_height, old_width = pixels.shape[:2]
    scale = max(width / old_width, height / old_height)
    crop_width = min(old_width, max(1, round(width / scale)))
    crop_height = min(old_height, max(1, round(height / scale)))
    left, top = (old_width - crop_width) // 2, (old_height - crop_height) // 2
    crop = np.ascontiguousarray(pixels[top : top + crop_height, left : left + crop_width])
    if (crop_width, crop_height) == (width, height):
        return crop
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, (width, height), interpolation=method), np.uint8)


def size_for(width: int, height: int, area: int, multiple: int, limit_pixels: int) -> tuple[int, int]:
    """Return the (width, height) in which a model animates a `width` x `height` picture, in pixels.

    It is the picture's aspect (beyond 4:1, 4:1) at `area` pixels a frame, or at `limit_pixels` if that
    is less, rounded as diffusers does: each side floored to `multiple`, and at least that.
    """
    aspect = min(max(width, height) / min(width, height), MAX_ASPECT)
    area = min(area, limit_pixels)
    long = _floored(math.sqrt(area * aspect), multiple)
    short = _floored(math.sqrt(area / aspect), multiple)
    long = min(long, max(multiple, limit_pixels // short // multiple * multiple))
    return (long, short) if width >= height else (short, long)


def to_png(pixels: Pixels) -> bytes:
    """Return an RGB picture, uint8 of shape `(height, width, 3)`, as a PNG."""
    import cv2

    _, encoded = cv2.imencode(".png", pixels[..., ::-1])
    return encoded.tobytes()


def _imdecode(data: bytes, flags: int) -> Pixels | None:
    """Return what OpenCV makes of `data`, None where it makes nothing."""
    import cv2

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)  # type: ignore[return-value]
    except cv2.error:
        return None


def _over_white(stored: Pixels | None) -> Pixels | None:
    """Return BGRA of 8 or 16 bits as RGB on white; None for other pictures.

    In bands of a megapixel, as the whole would take a gigabyte at 64 megapixels.
    """
    import cv2

    if stored is None or stored.ndim != 3 or stored.shape[2] != 4:
        return None
    shown = np.empty((*stored.shape[:2], 3), np.uint8)
    rows = max(1, _BAND // stored.shape[1])
    for top in range(0, len(stored), rows):
        band = stored[top : top + rows]
        if band.dtype != np.uint8:
            band = np.asarray(cv2.convertScaleAbs(band, alpha=1 / 257), np.uint8)
        alpha = band[..., 3:].astype(np.uint16)
        shown[top : top + rows] = (band[..., 2::-1] * alpha + 255 * (255 - alpha) + 127) // 255
    return shown


def _turned(pixels: Pixels, turn: Turn) -> Pixels:
    """Return `pixels` as shown: OpenCV would look for EXIF in other places than `inspect` does."""
    shown = pixels.swapaxes(0, 1) if turn.transpose else pixels
    return np.ascontiguousarray(shown[:: -1 if turn.rows else 1, :: -1 if turn.columns else 1])


def _floored(side: float, multiple: int) -> int:
    return max(multiple, round(side) // multiple * multiple)
