"""A clock that stops while this process is suspended."""

from __future__ import annotations

import time

MAX_TICK_SECONDS = 1.0


class AwakeClock:
    """Counts the seconds between calls of `tick`, each gap at most `max_tick`."""

    # a child that was silent while its supervisor was stopped, or the machine asleep, has not hung

    def __init__(self, max_tick: float = MAX_TICK_SECONDS) -> None:
        self.now = 0.0
        self._max_tick = max_tick
        self._before = time.monotonic()

    def tick(self) -> None:
        instant = time.monotonic()
        self.now += min(instant - self._before, self._max_tick)
        self._before = instant
