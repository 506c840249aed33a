"""How long the phases and the steps of a job take, by the reports that it makes."""

from __future__ import annotations

import time

from router.engine.timing import Stopwatch
from router.metrics import Metrics
from router.values import Phase


class Measuring:
    """Measures the phases that come to their end, and the steps but the first, which has the text encoder in it."""

    def __init__(self, metrics: Metrics, model: str, watch: Stopwatch) -> None:
        self.watch = watch
        self._metrics = metrics
        self._model = model
        self._phase: Phase | None = None
        self._begun = 0.0
        self._done = 0
        self._done_at = 0.0

    def reported(self, phase: Phase, done: int) -> None:
        """Take note of a report."""
        self.watch.hear(phase, done)
        now = time.monotonic()
        if phase is not self._phase:
            self.ended()
            self._phase, self._begun, self._done = phase, now, 0
        if done > self._done:
            if phase is Phase.STEP and self._done:
                self._steps(done - self._done, now - self._done_at)
            self._done, self._done_at = done, now

    def ended(self) -> None:
        """Say that the current phase has come to its end."""
        if self._phase is not None:
            self._metrics.phase_ended(self._model, self._phase, time.monotonic() - self._begun)

    def _steps(self, number: int, seconds: float) -> None:
        for _ in range(number):
            self._metrics.step_done(self._model, seconds / number)
