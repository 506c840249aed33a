"""Orientations: from a picture as stored to the picture as shown."""

from __future__ import annotations

from typing import NamedTuple


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


# by the number in EXIF
EXIF_ORIENTATIONS = {
    1: Orientation(),
    2: Orientation(columns=True),
    3: Orientation(rows=True, columns=True),
    4: Orientation(rows=True),
    5: Orientation(transpose=True),
    6: Orientation(transpose=True, columns=True),
    7: Orientation(transpose=True, rows=True, columns=True),
    8: Orientation(transpose=True, rows=True),
}
