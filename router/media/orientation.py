"""Turns: from a picture as stored to the picture as shown."""

from __future__ import annotations

from typing import NamedTuple


class Turn(NamedTuple):
    """A transposition, then a reversal of rows, then one of columns."""

    transpose: bool = False
    rows: bool = False
    columns: bool = False

    def rotated(self, quarters: int) -> Turn:
        """Return this turn followed by quarter turns against the clock."""
        turn = self
        for _ in range(quarters % 4):
            turn = Turn(not turn.transpose, not turn.columns, turn.rows)
        return turn

    def mirrored(self, *, columns: bool) -> Turn:
        """Return this turn followed by a mirror of the columns, or of the rows."""
        return Turn(self.transpose, self.rows ^ (not columns), self.columns ^ columns)


# by EXIF orientation
TURNS = {
    1: Turn(),
    2: Turn(columns=True),
    3: Turn(rows=True, columns=True),
    4: Turn(rows=True),
    5: Turn(transpose=True),
    6: Turn(transpose=True, columns=True),
    7: Turn(transpose=True, rows=True, columns=True),
    8: Turn(transpose=True, rows=True),
}
