"""Colour spaces: RGB primaries, matrices from their light to that of sRGB, transfer functions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]  # from encoded samples, 0..1, to linear light, 1 for white
REFERENCE_WHITE = 203.0  # cd/m2 of an HDR picture's white, after ITU-R BT.2408
HDR_PEAK = 1000.0  # cd/m2, up to which an HDR picture's highlights are kept apart
PQ, HLG = 16, 18


class Primaries(NamedTuple):
    """The chromaticities (x, y) of red, green, blue and white."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float]


_C, _D65 = (0.310, 0.316), (0.3127, 0.3290)
BT709 = Primaries((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65)
ADOBE_RGB = Primaries((0.640, 0.330), (0.210, 0.710), (0.150, 0.060), _D65)
_SMPTE_170M = Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)

# by their ColourPrimaries number in ISO/IEC 23091-2 (ITU-T H.273)
PRIMARIES = {
    1: BT709,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: _SMPTE_170M,
    7: _SMPTE_170M,
    8: Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    10: Primaries((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3)),
    11: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])  # the white of ICC's connection space


def to_xyz(primaries: Primaries) -> Floats:
    """Return the 3x3 matrix from linear RGB to XYZ; raise `ValueError` for degenerate primaries."""
    columns = np.array([(x, y, 1 - x - y) for x, y in primaries[:3]]).T
    if abs(np.linalg.det(columns)) < 1e-4:
        raise ValueError("its primaries lie on a line")
    scale = np.linalg.solve(columns, _white(primaries))
    return np.asarray(columns * scale)


def to_srgb(primaries: Primaries) -> Floats:
    """Return the 3x3 matrix from linear RGB to linear sRGB: white becomes white."""
    return np.asarray(_from_xyz(_white(primaries)) @ to_xyz(primaries))


def to_srgb_from_d50(colorants: Floats) -> Floats:
    """Return the 3x3 matrix to linear sRGB from colorants, columns in XYZ under D50."""
    return np.asarray(_from_xyz(_D50) @ colorants)


def _from_xyz(white: Floats) -> Floats:
    response, target = _BRADFORD @ white, _BRADFORD @ _white(BT709)
    if (response <= 0).any():
        raise ValueError("its white is no colour")
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(target / response) @ _BRADFORD
    return np.asarray(np.linalg.inv(to_xyz(BT709)) @ adapted)


def _white(primaries: Primaries) -> Floats:
    x, y = primaries.white
    if y <= 0:
        raise ValueError("its white has no brightness")
    return np.array([x / y, 1.0, (1 - x - y) / y])


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
CURVES: dict[int, Curve] = {
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
