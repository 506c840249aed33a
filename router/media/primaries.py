"""RGB primaries, and the matrices from their linear light to that of sRGB."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
NUMBERED = {
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
