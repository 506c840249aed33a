"""Pictures as arrays: decoded, made upright, fitted to a size."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.media.colours import colours_of
from router.media.conversion import Conversion, Samples
from router.media.exif import Orientation
from router.media.geometry import crop_size
from router.media.header import MAX_PIXELS, read_header
from router.media.header_fields import Channels, Header
from router.media.prepared_image import PreparedImage
from router.media.sample_decoders import is_rgb, read_bands
from router.values import Pixels

# of OpenCV itself, which counts only if it is set before the import
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))


@dataclass(frozen=True)
class Decoded:
    """A picture in sRGB, and notes such as "is HDR (PQ): ..."."""

    pixels: Pixels
    notes: tuple[str, ...] = ()


def prepare(data: bytes, header: Header, size: tuple[int, int], limit: int) -> PreparedImage:
    """Return the picture for a video of `size`, (width, height); raise as `decode` does.

    A picture of up to `limit` pixels stays as it is; a larger one is fitted to the video, but never enlarged.
    """
    decoded = decode_with_notes(data, header)
    pixels, (width, height) = decoded.pixels, size
    if pixels.shape[0] * pixels.shape[1] > limit:
        # fitted here, so that nothing is resized twice
        enlarged = max(width / pixels.shape[1], height / pixels.shape[0]) > 1
        pixels = crop_to_aspect(pixels, width, height) if enlarged else fit(pixels, width, height)
    return PreparedImage(to_png(pixels), decoded.notes)


def decode(data: bytes) -> Pixels:
    """Return the picture in sRGB, uint8 of shape `(height, width, 3)`, upright.

    Transparent pixels become white, as on a page. Raise `InvalidRequest` (`invalid_image`) for what
    `inspect` refuses, and for truncated or broken pictures.
    """
    return decode_with_notes(data).pixels


def decode_with_notes(data: bytes, header: Header | None = None) -> Decoded:
    """Decode like `decode`, with notes on colours that its sender may see otherwise."""
    header = header or read_header(data)
    colours = colours_of(header.colour, header.exif)
    whole: Pixels | None = None
    for rows, columns, samples in read_bands(data, header, colours.conversion is not None):
        shown = _shown(samples, header, colours.conversion)
        if shown.shape[:2] == (header.height, header.width):
            whole = shown
            break
        if whole is None:
            whole = np.empty((header.height, header.width, 3), np.uint8)
        whole[rows, columns] = shown
    assert whole is not None
    return Decoded(_upright(whole, header.orientation), colours.notes)


def _shown(band: Samples, header: Header, conversion: Conversion | None) -> Pixels:
    channels = header.colour.channels
    plain = conversion is None and not header.alpha
    if plain and header.png is not None and band.dtype == np.uint16:
        band = (band >> 8).astype(np.uint8)  # as browsers do
    if plain and band.ndim == 3 and band.dtype == np.uint8:
        return np.asarray(band, np.uint8)
    colours: Samples = band
    alpha: Pixels | None = None
    if band.ndim == 3 and channels is not Channels.CMYK:
        colours = band[..., :3] if is_rgb(header.media_type) else band[..., 2::-1]
        if channels is Channels.GREY:
            colours = band[..., 0]
        if band.shape[2] in (2, 4):
            alpha = _eight_bits(band[..., -1])
    if conversion is not None:  # before the mix with white, which is white in every space
        shown = conversion.to_srgb(colours)
    else:
        shown = _eight_bits(colours)
        shown = np.repeat(shown[..., None], 3, -1) if shown.ndim == 2 else shown
    return shown if alpha is None else _on_white(shown, alpha)


def _on_white(shown: Pixels, alpha: Pixels) -> Pixels:
    if alpha.min() == 255:
        return shown
    weight = alpha[..., None].astype(np.uint16)
    mixed = shown * weight
    mixed += 255 * (255 - weight) + 128
    mixed += mixed >> 8  # with the next line a division by 255, rounded
    return np.asarray(mixed >> 8, np.uint8)


def _eight_bits(samples: NDArray[Any]) -> Pixels:
    import cv2

    if samples.dtype == np.uint8:
        return samples.astype(np.uint8, copy=False)
    return np.asarray(cv2.convertScaleAbs(samples, alpha=1 / 257), np.uint8).reshape(samples.shape)


def crop_to_aspect(pixels: Pixels, width: int, height: int) -> Pixels:
    """Return the crop by `fit`, around the centre of a picture."""
    old_height, old_width = pixels.shape[:2]
    crop_width, crop_height = crop_size(old_width, old_height, width, height)
    left, top = (old_width - crop_width) // 2, (old_height - crop_height) // 2
    return np.ascontiguousarray(pixels[top : top + crop_height, left : left + crop_width])


def fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """Return `pixels` as `(height, width, 3)`: cropped around the centre, then resized; never stretched."""
    import cv2

    crop = crop_to_aspect(pixels, width, height)
    if crop.shape[:2] == (height, width):
        return crop
    scale = max(width / pixels.shape[1], height / pixels.shape[0])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, (width, height), interpolation=method), np.uint8)


def to_png(pixels: Pixels) -> bytes:
    """Return an RGB picture, uint8 of shape `(height, width, 3)`, as a PNG."""
    import cv2

    _, encoded = cv2.imencode(".png", pixels[..., ::-1])
    return encoded.tobytes()


def _upright(pixels: Pixels, orientation: Orientation) -> Pixels:
    # not by OpenCV, which would look for EXIF in other places than `inspect` does
    shown = pixels.swapaxes(0, 1) if orientation.transpose else pixels
    return np.ascontiguousarray(shown[:: -1 if orientation.rows else 1, :: -1 if orientation.columns else 1])
