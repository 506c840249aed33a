"""A clock that leaves out the time in which this process did not run."""

from __future__ import annotations

import time

MOMENT = 1.0


class AwakeClock:
    """Counts seconds, of each time between two calls of `tick` no more than a moment.

    A child that was silent while its supervisor was stopped, or the machine asleep, has not hung.
    """

    def __init__(self, moment: float = MOMENT) -> None:
        self.now = 0.0
        self._moment = moment
        self._before = time.monotonic()

    def tick(self) -> None:
        instant = time.monotonic()
        self.now += min(instant - self._before, self._moment)
        self._before = instant
