"""How long one job takes: its steps as they pass, what is still to come, and the pace that it has shown."""

from __future__ import annotations

import time
from collections.abc import Callable

from router.values import Phase, StepTiming

TAIL = 1 / 9  # of the steps' time, for what follows them, until it has been seen: as progress in percent has it


class Stopwatch:
    """Hears each report of one attempt; `known` is the pace of earlier jobs at this shape."""

    def __init__(self, known: StepTiming | None, steps: int, now: Callable[[], float] = time.monotonic) -> None:
        self._known = known
        self._steps = steps
        self._now = now
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] = (0.0, 0)

    def hear(self, phase: Phase, done: int) -> None:
        if phase is Phase.STEP and (self._first is None or done > self._last[1]):
            self._last = (self._now(), done)
            self._first = self._first or self._last

    def remaining(self, phase: Phase, done: int, total: int) -> float | None:
        """Return the seconds from now to the end, None before anything is known."""
        if (step := self._step()) is None:
            return None
        rest = self._known.rest if self._known else step * self._steps * TAIL
        if phase is Phase.DECODE:
            return rest * (total - done) / max(total, 1)
        return step * (total - done if phase is Phase.STEP else self._steps) + rest

    def pace(self) -> StepTiming | None:
        """Return what the job has shown, now that it is done; None if it told nothing of its steps."""
        step = self._seen()
        return StepTiming(step, self._now() - self._last[0]) if step is not None else None

    def _step(self) -> float | None:
        seen = self._seen()
        return self._known.step if seen is None and self._known else seen

    def _seen(self) -> float | None:
        if self._first is None or self._last[1] <= self._first[1]:
            return None
        return (self._last[0] - self._first[0]) / (self._last[1] - self._first[1])
