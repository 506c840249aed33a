"""Pictures of a video: preview, thumbnail, sprite sheet and last frame."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from router.media.pixels import decode
from router.values import Pixels

THUMBNAIL_SIDE = 512  # pixels of the longer side at most, as nothing is enlarged; so is the next
TILE_SIDE = 256
PREVIEW_SIDE = 256  # whatever the picture's own, which is an eighth or a sixteenth of the video's
TILES, COLUMNS = 25, 5
WEBP_QUALITY, JPEG_QUALITY = 80, 85
IMAGE_QUALITY = 95  # of a whole image that was asked for as JPEG or WebP


def thumbnail(path: Path) -> bytes:
    """Return the first frame as a WebP; raise `ValueError` for an unreadable file."""
    import cv2

    (first,) = _frames(path, [0])
    return _encoded(".webp", _shrunk(first, THUMBNAIL_SIDE), [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])


def last_frame(path: Path, num_frames: int) -> bytes:
    """Return the last frame as a PNG, whole; raise `ValueError` for an unreadable file."""
    (last,) = _frames(path, [num_frames - 1])
    return _encoded(".png", last, [])


def encoded(path: Path, suffix: str) -> bytes:
    """Return an image as `.jpeg` or `.webp`; raise `ValueError` for an unreadable file."""
    import cv2

    (pixels,) = _frames(path, [0])
    quality = {".jpeg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}[suffix]
    return _encoded(suffix, pixels, [quality, IMAGE_QUALITY])


def spritesheet(path: Path, num_frames: int) -> bytes:
    """Return a JPEG of up to 25 frames, evenly spread over the video.

    The first and the last are among them. They fill rows of five, left to right and down; the rest of the last row is
    black.
    """
    import cv2

    tiles = [_shrunk(frame, TILE_SIDE) for frame in _frames(path, spread(num_frames, TILES))]
    height, width = tiles[0].shape[:2]
    columns = min(len(tiles), COLUMNS)
    sheet = np.zeros((math.ceil(len(tiles) / columns) * height, columns * width, 3), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + height, left : left + width] = tile
    return _encoded(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def preview_of(pixels: Pixels) -> bytes:
    """Return a picture of a running job as a JPEG."""  # a WebP takes thirty times as long
    import cv2

    return _encoded(".jpg", _resized(pixels, PREVIEW_SIDE, cv2.INTER_CUBIC), [])


def spread(count: int, most: int) -> list[int]:
    """Return up to `most` numbers, evenly spread from 0 to `count` - 1."""
    if count <= most:
        return list(range(count))
    return [round(n * (count - 1) / (most - 1)) for n in range(most)]


def _frames(path: Path, wanted: Sequence[int]) -> Iterator[Pixels]:
    """Yield the frames with these numbers, rising, as RGB of shape `(height, width, 3)`."""
    import cv2

    if path.suffix == ".png":
        yield decode(path.read_bytes())
        return
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        for number in range(wanted[-1] + 1):
            if not video.grab():
                raise ValueError(f"{path} has no frame {number}")
            if number in wanted:
                yield np.asarray(video.retrieve()[1], np.uint8)[..., ::-1]
    finally:
        video.release()


def _shrunk(pixels: Pixels, side: int) -> Pixels:
    import cv2

    return pixels if max(pixels.shape[:2]) <= side else _resized(pixels, side, cv2.INTER_AREA)


def _resized(pixels: Pixels, side: int, method: int) -> Pixels:
    import cv2

    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size, interpolation=method), np.uint8)


def _encoded(suffix: str, pixels: Pixels, how: list[int]) -> bytes:
    import cv2

    done, data = cv2.imencode(suffix, pixels[..., ::-1], how)
    if not done:
        raise ValueError(f"a picture must be uint8 of (height, width, 3), got {pixels.dtype} of {pixels.shape}")
    return data.tobytes()
