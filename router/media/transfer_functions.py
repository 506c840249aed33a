"""Transfer functions: from encoded samples, 0..1, to linear light, 1 for white."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from router.media.primaries import Floats

Curve = Callable[[Floats], Floats]
REFERENCE_WHITE = 203.0  # cd/m2 of an HDR picture's white, after ITU-R BT.2408
HDR_PEAK = 1000.0  # cd/m2, up to which an HDR picture's highlights are kept apart
PQ, HLG = 16, 18


def srgb(encoded: Floats) -> Floats:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def srgb_encoded(linear: Floats) -> Floats:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def power(exponent: float) -> Curve:
    return lambda encoded: np.asarray(encoded**exponent)


def pq(encoded: Floats) -> Floats:
    """Return the light of SMPTE ST 2084, in parts of the reference white."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = encoded ** (1 / m2)
    light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return np.asarray(light * 10_000 / REFERENCE_WHITE)


def hlg(encoded: Floats) -> Floats:
    """Return the scene's light of ARIB STD-B67, 1 at its peak."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(encoded <= 0.5, encoded**2 / 3, (np.exp((encoded - c) / a) + b) / 12)


# By their TransferCharacteristics number in ISO/IEC 23091-2 (ITU-T H.273). Those of BT.709 and its kin describe a
# camera; screens and browsers show such pixels as they show sRGB's, and so do players with our own videos.
NUMBERED: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 7, 11, 12, 13, 14, 15), srgb),
    4: power(2.2),
    5: power(2.8),
    8: power(1.0),
    9: lambda encoded: np.where(encoded > 0, 10 ** (2 * (encoded - 1)), 0),
    10: lambda encoded: np.where(encoded > 0, 10 ** (2.5 * (encoded - 1)), 0),
    PQ: pq,
    17: lambda encoded: np.asarray(encoded**2.6 * 52.37 / 48),
    HLG: hlg,
}
