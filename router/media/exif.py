"""The orientation and the colour space in an EXIF block."""

from __future__ import annotations

import struct
from enum import Enum
from typing import NamedTuple

_ORIENTATION, _EXIF_IFD = 0x0112, 0x8769
_COLOUR_SPACE, _INTEROPERABILITY_IFD = 0xA001, 0xA005
_INTEROPERABILITY_INDEX = 0x0001
_ADOBE_RGB, _UNCALIBRATED = 2, 0xFFFF
_SHORT, _LONG, _ASCII = 3, 4, 2
_MAX_ENTRIES = 1000


class Orientation(NamedTuple):
    """A transposition, then a reversal of rows, then one of columns."""

    transpose: bool = False
    rows: bool = False
    columns: bool = False

    def rotated(self, quarters: int) -> Orientation:
        """Return this orientation followed by quarter rotations against the clock."""
        orientation = self
        for _ in range(quarters % 4):
            orientation = Orientation(not orientation.transpose, not orientation.columns, orientation.rows)
        return orientation

    def mirrored(self, *, columns: bool) -> Orientation:
        """Return this orientation followed by a mirror of the columns, or of the rows."""
        return Orientation(self.transpose, self.rows ^ (not columns), self.columns ^ columns)


_NUMBERED = {
    2: Orientation(columns=True),
    3: Orientation(rows=True, columns=True),
    4: Orientation(rows=True),
    5: Orientation(transpose=True),
    6: Orientation(transpose=True, columns=True),
    7: Orientation(transpose=True, rows=True, columns=True),
    8: Orientation(transpose=True, rows=True),
}


class ExifColour(Enum):
    """The colour space that an EXIF block names."""

    SRGB = "sRGB"
    ADOBE_RGB = "Adobe RGB"
    UNCALIBRATED = "uncalibrated"


def orientation(exif: bytes) -> Orientation:
    """Return the orientation; upright without a readable one."""
    return _NUMBERED.get(_first_directory(_tiff(exif)).get(_ORIENTATION, 1), Orientation())


def colour_space(exif: bytes) -> ExifColour:
    """Return the colour space; sRGB for a block without one.

    Adobe RGB is ColorSpace 2, which some cameras write, or what DCF 2.0 asks for: uncalibrated, with the
    interoperability index R03.
    """
    tiff = _tiff(exif)
    details = _directory(tiff, _first_directory(tiff).get(_EXIF_IFD, 0))
    space = details.get(_COLOUR_SPACE, 1)
    index = _directory(tiff, details.get(_INTEROPERABILITY_IFD, 0)).get(_INTEROPERABILITY_INDEX, 0)
    if space == _ADOBE_RGB or (space == _UNCALIBRATED and index == int.from_bytes(b"R03\0")):
        return ExifColour.ADOBE_RGB
    return ExifColour.UNCALIBRATED if space == _UNCALIBRATED else ExifColour.SRGB


def _tiff(exif: bytes) -> tuple[str, bytes]:
    """Return the byte order, empty for an unreadable block, and the TIFF bytes."""
    tiff = exif.removeprefix(b"Exif\0\0")
    return {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4], ""), tiff


def _first_directory(tiff: tuple[str, bytes]) -> dict[int, int]:
    order, data = tiff
    return _directory(tiff, struct.unpack_from(order + "I", data, 4)[0]) if order and len(data) >= 8 else {}


def _directory(tiff: tuple[str, bytes], start: int) -> dict[int, int]:
    """Return the readable numbers and four-byte texts of a directory by tag."""
    order, data = tiff
    found: dict[int, int] = {}
    try:
        (count,) = struct.unpack_from(order + "H", data, start) if order and start else (0,)
        for entry in range(start + 2, start + 2 + 12 * min(count, _MAX_ENTRIES), 12):
            tag, kind, _ = struct.unpack_from(order + "HHI", data, entry)
            layout = {_SHORT: order + "H", _LONG: order + "I", _ASCII: ">I"}.get(kind)
            if layout:
                found.setdefault(tag, struct.unpack_from(layout, data, entry + 8)[0])
    except struct.error:
        pass
    return found
