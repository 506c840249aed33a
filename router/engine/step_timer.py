"""Times of a job's phases and steps, from its reports."""

import time
from collections.abc import Callable

from router.metrics import Metrics
from router.values import Phase, StepTiming

TAIL = 1 / 9  # of the steps' time, for what follows them, until it has been seen: as progress in percent has it


class StepTimer:
    """Times one attempt at a job; `known` is the timing of similar jobs."""

    def __init__(
        self,
        model: str,
        steps: int,
        known: StepTiming | None,
        metrics: Metrics,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._steps = steps
        self._known = known
        self._metrics = metrics
        self._now = now
        self._phase: Phase | None = None
        self._began = 0.0
        self._first: tuple[float, int] | None = None  # report of a step, which may be of none that is done
        self._last: tuple[float, int] = (0.0, 0)

    def report(self, phase: Phase, done: int) -> None:
        """Take the time of a report."""
        now = self._now()
        if phase is not self._phase:
            self.end()
            self._phase, self._began = phase, now
        if phase is Phase.STEP and (self._first is None or done > self._last[1]):
            if self._last[1]:  # the first step has the text encoder in it
                steps = done - self._last[1]
                for _ in range(steps):
                    self._metrics.step_done(self._model, (now - self._last[0]) / steps)
            self._last = (now, done)
            self._first = self._first or self._last

    def end(self) -> None:
        """End the current phase."""
        if self._phase is not None:
            self._metrics.phase_ended(self._model, self._phase, self._now() - self._began)

    def remaining(self, phase: Phase, done: int, total: int) -> float | None:
        """Return the seconds from now to the end, None before anything is known."""
        step = self._step()  # as soon as there is one of this attempt, it counts
        if step is None:
            if self._known is None:
                return None
            step = self._known.step
        tail = self._known.rest if self._known else step * self._steps * TAIL
        if phase is Phase.DECODE:
            return tail * (total - done) / max(total, 1)
        return step * (total - done if phase is Phase.STEP else self._steps) + tail

    def timing(self) -> StepTiming | None:
        """Return the timing of the ended attempt; None if it reported no steps."""
        step = self._step()
        return StepTiming(step, self._now() - self._last[0]) if step is not None else None

    def _step(self) -> float | None:
        """Return the mean seconds of a step of this attempt."""
        if self._first is None or self._last[1] <= self._first[1]:
            return None
        return (self._last[0] - self._first[0]) / (self._last[1] - self._first[1])
