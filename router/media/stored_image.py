"""A caller's picture as the picture that is stored: upright, in sRGB, a PNG of no more pixels than a model's frame."""

from __future__ import annotations

from dataclasses import dataclass

from router.media.pixels import cut, decode_with_notes, fit, to_png


@dataclass(frozen=True)
class Prepared:
    """A PNG that `images.decode` reads in bounded time and memory, and notes on the colours that it was made from."""

    png: bytes
    notes: tuple[str, ...] = ()


def prepare(data: bytes, size: tuple[int, int], limit: int, *, param: str = "") -> Prepared:
    """Return the picture for a video of `size`, width and height; raise `InvalidRequest` as `decode` does.

    One of up to `limit` pixels stays as it is. A larger one is fitted to the video at once, so that nothing is resized
    twice, but never enlarged.
    """
    decoded = decode_with_notes(data, param=param)
    pixels, (width, height) = decoded.pixels, size
    if pixels.shape[0] * pixels.shape[1] > limit:
        enlarged = max(width / pixels.shape[1], height / pixels.shape[0]) > 1
        pixels = cut(pixels, width, height) if enlarged else fit(pixels, width, height)
    return Prepared(to_png(pixels), decoded.notes)
