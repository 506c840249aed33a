"""Bounds of numbers, for the fields of models files and of requests."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """The range from `least` to `most`, without `least` if `above`.

    As text it ends a message: `from 1 to 60`.
    """

    least: float
    most: float
    above: bool = False

    def integer(self, value: object) -> bool:
        """Say whether `value` is an integer in the range; true and false are none."""
        return isinstance(value, int) and self.number(value)

    def number(self, value: object) -> bool:
        """Say whether `value` is a number in the range; NaN and infinity are none."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        return f"{'above' if self.above else 'from'} {self.least} to {self.most}"
