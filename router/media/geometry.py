"""Sizes of a picture's crop, and of a video that starts from it."""

import math

MAX_ASPECT = 4.0


def crop_size(old_width: int, old_height: int, width: int, height: int) -> tuple[int, int]:
    """Return width and height of the crop by `fit`, in the picture's pixels."""
    scale = max(width / old_width, height / old_height)
    return min(old_width, max(1, round(width / scale))), min(old_height, max(1, round(height / scale)))


def size_for(width: int, height: int, area: int, multiple: int, limit_pixels: int) -> tuple[int, int]:
    """Return the (width, height) of a video that starts from a picture, in pixels.

    It has the picture's aspect (beyond 4:1, 4:1) at `area` pixels a frame, or at `limit_pixels` if that
    is less, rounded as diffusers does: each side floored to `multiple`, and at least that.
    """
    aspect = min(max(width, height) / min(width, height), MAX_ASPECT)
    area = min(area, limit_pixels)
    long = _floored(math.sqrt(area * aspect), multiple)
    short = _floored(math.sqrt(area / aspect), multiple)
    long = min(long, max(multiple, limit_pixels // short // multiple * multiple))
    return (long, short) if width >= height else (short, long)


def _floored(side: float, multiple: int) -> int:
    return max(multiple, round(side) // multiple * multiple)
