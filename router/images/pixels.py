"""Pictures as arrays: decoded, turned upright, fitted to a size.

OpenCV's own limit on pixels counts only if it is set before the import.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.images.colours import colours_of
from router.images.conversion import Conversion, Samples
from router.images.decoders import is_rgb, read_samples
from router.images.header import MAX_PIXELS, Header, broken, read_header
from router.images.tags import Channels
from router.images.turn import Turn
from router.values import Pixels

MAX_ASPECT = 4.0
_BAND = 2**17  # pixels whose light, in 32-bit floats, stays in a core's cache

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))


@dataclass(frozen=True)
class Decoded:
    """A picture in sRGB, and notes on its colours, such as "is HDR (PQ): ..."."""

    pixels: Pixels
    notes: tuple[str, ...] = ()


def decode(data: bytes, *, param: str = "") -> Pixels:
    """Return the picture as sRGB, uint8 of shape `(height, width, 3)`, in the size that `inspect` tells.

    What is transparent becomes white, as on a page. Raise `InvalidRequest` (`invalid_image`) for what
    `inspect` refuses, and for truncated or broken pictures.
    """
    return decode_with_notes(data, param=param).pixels


def decode_with_notes(data: bytes, *, param: str = "") -> Decoded:
    """Decode like `decode`, with notes on colours that its sender may see otherwise."""
    header = read_header(data, param=param)
    colours = colours_of(header.colour, header.exif)
    stored = read_samples(data, header, colours.conversion is not None, param)
    if stored is None or stored.shape[:2] != (header.height, header.width):
        raise broken(header.media_type, param, "it cannot be decoded")
    shown = _shown(stored, header, colours.conversion)
    del stored  # up to 512 MB
    return Decoded(_turned(shown, header.turn), colours.notes)


def _shown(stored: Samples, header: Header, conversion: Conversion | None) -> Pixels:
    """Return samples as sRGB on white.

    In bands of rows, as the whole would take gigabytes at 64 megapixels. Colours are converted before they
    are mixed with white, which is white in every space.
    """
    if conversion is None and not header.alpha and stored.ndim == 3 and stored.dtype == np.uint8:
        return np.asarray(stored, np.uint8)
    shown = np.empty((*stored.shape[:2], 3), np.uint8)
    rows = max(1, _BAND // stored.shape[1])
    for top in range(0, len(stored), rows):
        shown[top : top + rows] = _band(stored[top : top + rows], header, conversion)
    return shown


def _band(band: Samples, header: Header, conversion: Conversion | None) -> Pixels:
    tags = header.colour
    colours: Samples = band
    alpha: Pixels | None = None
    if band.ndim == 2 and tags.transparent_grey is not None:
        alpha = np.where(band == tags.transparent_grey, 0, 255).astype(np.uint8)
    elif band.ndim == 3 and tags.channels is not Channels.CMYK:
        colours = band[..., :3] if is_rgb(header.media_type) else band[..., 2::-1]
        if tags.channels is Channels.GREY:
            colours = band[..., 0]
        if band.shape[2] == 4:
            alpha = _eight_bits(band[..., 3])
    if conversion is not None:
        shown = conversion.to_srgb(colours)
    else:
        shown = _eight_bits(colours)
        shown = np.repeat(shown[..., None], 3, -1) if shown.ndim == 2 else shown
    if alpha is None:
        return shown
    weight = alpha[..., None].astype(np.uint16)
    return np.asarray((shown * weight + 255 * (255 - weight) + 127) // 255, np.uint8)


def _eight_bits(samples: NDArray[Any]) -> Pixels:
    import cv2

    if samples.dtype == np.uint8:
        return samples.astype(np.uint8, copy=False)
    return np.asarray(cv2.convertScaleAbs(samples, alpha=1 / 257), np.uint8).reshape(samples.shape)


def kept_of(old_width: int, old_height: int, width: int, height: int) -> tuple[int, int]:
    """Return the width and height of what `fit` keeps of a picture, in the picture's own pixels."""
    scale = max(width / old_width, height / old_height)
    return min(old_width, max(1, round(width / scale))), min(old_height, max(1, round(height / scale)))


def fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """Return `pixels` as `(height, width, 3)`: cropped around the centre, then resized; never stretched."""
    import cv2

    old_height, old_width = pixels.shape[:2]
    scale = max(width / old_width, height / old_height)
    crop_width, crop_height = kept_of(old_width, old_height, width, height)
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


def _turned(pixels: Pixels, turn: Turn) -> Pixels:
    """Return `pixels` as shown: OpenCV would look for EXIF in other places than `inspect` does."""
    shown = pixels.swapaxes(0, 1) if turn.transpose else pixels
    return np.ascontiguousarray(shown[:: -1 if turn.rows else 1, :: -1 if turn.columns else 1])


def _floored(side: float, multiple: int) -> int:
    return max(multiple, round(side) // multiple * multiple)
