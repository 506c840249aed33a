"""Conversions of bands of a picture's samples to sRGB."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.media import colour_spaces
from router.media.colour_spaces import Curve, Floats
from router.media.header_fields import Channels
from router.values import Pixels

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

Samples = NDArray[np.uint8] | NDArray[np.uint16]
_FINE = 65535
_KNEE = 0.5  # of an HDR picture's white, above which highlights are compressed
_HDR_END = colour_spaces.HDR_PEAK / colour_spaces.REFERENCE_WHITE
_TRANSFORMS = 8  # LittleCMS takes 0.1 s to make one, which has about 2 MB


@dataclass(frozen=True)
class MatrixConversion:
    """The conversion of an RGB space by curves and a matrix, in full precision.

    `luma` is the brightness of each primary, for HLG only. `narrow` samples have their black at 16 of 255.
    """

    curves: tuple[Curve, ...]
    matrix: Floats
    hdr: bool = False
    luma: Floats | None = None
    narrow: bool = False

    def to_srgb(self, band: Samples) -> Pixels:
        import cv2

        tables = self._deep if band.dtype == np.uint16 else self._shallow
        if band.ndim == 2 and not self.hdr:
            codes = np.take(_codes(), (tables[:, 0] * _FINE + 0.5).astype(np.uint16))
            return np.repeat(np.take(codes, band, mode="clip")[..., None], 3, -1)
        samples: NDArray[Any] = band if band.ndim == 3 else np.repeat(band[..., None], 3, -1)
        if samples.dtype == np.uint8:
            linear = np.asarray(cv2.LUT(np.ascontiguousarray(samples), tables[None]), np.float32)
        else:
            linear = np.empty(samples.shape, np.float32)
            for channel in range(3):
                np.take(tables[:, channel], samples[..., channel], out=linear[..., channel], mode="clip")
        if self.hdr:
            linear = self._compressed(linear)
        linear = np.asarray(cv2.transform(linear, self.matrix), np.float32)
        levels = cv2.addWeighted(linear, _FINE, linear, 0, 0, dtype=cv2.CV_16U)  # which rounds and clips
        return np.take(_codes(), np.asarray(levels, np.uint16), mode="clip")

    @cached_property
    def _shallow(self) -> NDArray[np.float32]:
        return np.stack([self._table(curve, 255) for curve in self.curves], -1)

    @cached_property
    def _deep(self) -> NDArray[np.float32]:
        return np.stack([self._table(curve, _FINE) for curve in self.curves], -1)

    def _table(self, curve: Curve, peak: int) -> NDArray[np.float32]:
        samples = np.arange(peak + 1) / peak
        if self.narrow:
            unit = 255 if peak == 255 else _FINE / 256  # 16 bits are 8 bits shifted
            samples = np.clip((samples * unit - 16) / 219, 0, 1)
        with np.errstate(all="ignore"):
            linear = np.nan_to_num(curve(samples), nan=0.0)
        return np.clip(linear, 0, _HDR_END if self.hdr and self.luma is None else 1).astype(np.float32)

    def _compressed(self, linear: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return HDR light within 0..1, bent by its largest channel, so that hues stay."""
        import cv2

        red, green, blue = cv2.split(linear)
        if self.luma is not None:
            luminance = cv2.transform(linear, self.luma[None])
            display = np.asarray(cv2.pow(luminance, 0.2), np.float32) * _HDR_END
            red, green, blue = red * display, green * display, blue * display
        most = np.maximum(np.maximum(red, green), blue)
        ratio = np.take(_bend(), (most * (_FINE / _HDR_END)).astype(np.uint16), mode="clip")
        return np.asarray(cv2.merge([red * ratio, green * ratio, blue * ratio]), np.float32)


@dataclass(frozen=True)
class TableConversion:
    """A conversion by an ICC profile's table; raises `ValueError` where LittleCMS refuses the profile."""

    profile: bytes
    channels: Channels

    def __post_init__(self) -> None:
        _transform(self.profile, self.channels)

    def to_srgb(self, band: Samples) -> Pixels:
        import cv2
        from PIL import Image

        if band.dtype != np.uint8:
            band = np.asarray(cv2.convertScaleAbs(band, alpha=1 / 257), np.uint8).reshape(band.shape)
        mode, size = _MODES[self.channels], (band.shape[1], band.shape[0])
        picture = Image.frombuffer(mode, size, np.ascontiguousarray(band), "raw", mode, 0, 1)
        return np.asarray(_transform(self.profile, self.channels).apply(picture), np.uint8)


# `to_srgb` takes grey bands of two axes, others with RGB or CMYK on the third, and returns sRGB of `(rows, width, 3)`
Conversion = MatrixConversion | TableConversion
_MODES = {Channels.GREY: "L", Channels.RGB: "RGB", Channels.CMYK: "CMYK"}


@lru_cache(maxsize=_TRANSFORMS)
def _transform(profile: bytes, channels: Channels) -> ImageCmsTransform:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        return ImageCms.ImageCmsTransform(source, target, _MODES[channels], "RGB", ImageCms.Intent.PERCEPTUAL)
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError("LittleCMS refuses it") from error


def changes(conversion: Conversion, channels: Channels) -> bool:
    """Say whether a conversion changes any sample colour by more than one level."""
    ramp = np.arange(256, dtype=np.uint8)
    if channels is Channels.CMYK:
        return True
    if channels is Channels.GREY:
        sample: Pixels = ramp[None]
        expected = np.repeat(sample[..., None], 3, -1)
    else:
        levels = np.linspace(0, 255, 6).round().astype(np.uint8)
        cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        sample = expected = np.concatenate([cube, np.repeat(ramp[None, :, None], 3, -1)], 1)
    return bool(np.abs(conversion.to_srgb(sample).astype(int) - expected).max() > 1)


@cache
def _codes() -> Pixels:
    """Return sRGB's 8-bit code for each of 65,536 levels of linear light."""
    return np.asarray((colour_spaces.srgb_encoded(np.arange(_FINE + 1) / _FINE) * 255).round(), np.uint8)


@cache
def _bend() -> NDArray[np.float32]:
    """Return the factors that compress HDR light, for 65,536 levels of it."""
    # light below the knee stays; the rest follows Reinhard's curve from there to 1 at the peak
    light = np.arange(_FINE + 1) / _FINE * _HDR_END
    over, end = np.maximum(light - _KNEE, 0) / (1 - _KNEE), (_HDR_END - _KNEE) / (1 - _KNEE)
    bent = _KNEE + (1 - _KNEE) * over * (1 + over / end**2) / (1 + over)
    return np.where(light > _KNEE, bent / np.maximum(light, _KNEE), 1).astype(np.float32)
