"""The picture that is stored: an upright sRGB PNG within a model's pixel limit."""

from __future__ import annotations

from dataclasses import dataclass

from router.media.header import Header
from router.media.pixels import cut, decode_image, fit, to_png


@dataclass(frozen=True)
class PreparedImage:
    """A PNG of bounded size, and notes on the colours of its source."""

    png: bytes
    notes: tuple[str, ...] = ()


def prepare(data: bytes, header: Header, size: tuple[int, int], limit: int) -> PreparedImage:
    """Return the picture for a video of `size`, (width, height); raise as `decode` does.

    A picture of up to `limit` pixels stays as it is; a larger one is fitted to the video, but never enlarged.
    """
    decoded = decode_image(data, header)
    pixels, (width, height) = decoded.pixels, size
    if pixels.shape[0] * pixels.shape[1] > limit:
        # fitted here, so that nothing is resized twice
        enlarged = max(width / pixels.shape[1], height / pixels.shape[0]) > 1
        pixels = cut(pixels, width, height) if enlarged else fit(pixels, width, height)
    return PreparedImage(to_png(pixels), decoded.notes)
