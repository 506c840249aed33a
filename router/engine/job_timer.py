"""Seconds of a job's phases and steps, from its reports."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from router.metrics import Metrics
from router.values import Phase, Pixels, WorkSeconds

TAIL = 1 / 9  # of the steps' time, for what follows them, until it has been seen: as progress in percent has it


class JobTimer:
    """Times one attempt at a job from now on.

    `expected` are its expected seconds, `load_seconds` those until its model is on the device.
    """

    def __init__(
        self,
        model: str,
        steps: int,
        expected: WorkSeconds | None,
        metrics: Metrics,
        now: Callable[[], float] = time.monotonic,
        load_seconds: float = 0.0,
    ) -> None:
        self._model = model
        self._load_seconds = load_seconds
        self._steps = steps
        self._expected = expected
        self._metrics = metrics
        self._now = now
        self._created = self._loaded = now()
        self._load = 0.0  # seconds
        self._load_phase = 0.0  # of it, without downloads
        self._download: tuple[float, int] | None = None  # time and bytes of its first report with any
        self._decode = 0.0
        self._phase: Phase | None = None
        self._began = 0.0
        self._first: tuple[float, int] | None = None  # report of a finished step, or of several
        self._last: tuple[float, int] = (0.0, 0)
        self._stepped: float | None = None  # when the frames were there to decode
        self._ended: float | None = None

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Count the block as a load, whether it fails or not."""
        began = self._now()
        try:
            yield
        finally:
            self._loaded = self._now()
            self._load += self._loaded - began

    def report(self, phase: Phase, done: int) -> None:
        """Take the time of a report."""
        now = self._now()
        if phase is not self._phase:
            self._end_phase(now)
            self._phase, self._began = phase, now
        if phase is Phase.DOWNLOAD:  # each begins with a report of none
            self._download = (self._download or (now, done)) if done else None
        if phase is Phase.DECODE and self._stepped is None:
            self._stepped = now
        if phase is Phase.STEP and done > self._last[1]:
            if self._first is not None:  # the first step has the text encoder in it
                steps = done - self._last[1]
                for _ in range(steps):
                    self._metrics.step_done(self._model, (now - self._last[0]) / steps)
            self._last = (now, done)
            self._first = self._first or self._last

    def decoding(self, pixels: Iterator[Pixels]) -> Iterator[Pixels]:
        """Yield the chunks of a backend; what it takes to make each is decoding."""
        while True:
            began = self._now()
            chunk = next(pixels, None)
            self._decode += self._now() - began
            if chunk is None:
                return
            yield chunk

    def end(self) -> None:
        """End the job's work: its file is there."""
        self._ended = self._now()
        self._end_phase(self._ended)
        self._phase = None

    @property
    def steps(self) -> int:
        """The finished steps."""
        return self._last[1]

    @property
    def work(self) -> float:
        """The seconds so far, without loads."""
        return (self._now() if self._ended is None else self._ended) - self._created - self._load

    def remaining(self, phase: Phase, done: int, total: int) -> float | None:
        """Return the seconds from now to the end, None before anything is known."""
        expected, step = self._expected, self._step(self._last[0])  # what is measured of this attempt counts first
        if step is None and expected is not None:
            step = expected.steps / max(self._steps, 1)
        elif step is None and self._first is not None:
            step = (self._first[0] - self._loaded) / self._first[1]
        if step is None:
            return None
        tail = expected.decode + expected.encode if expected else step * self._steps * TAIL
        if phase is Phase.DECODE:
            return tail * (total - done) / max(total, 1)
        before = expected.text if expected and self._first is None else 0.0
        if phase is Phase.DOWNLOAD:
            if (left := self._download_left(done, total)) is None:
                return None
            before += left
        if phase in (Phase.DOWNLOAD, Phase.LOAD):
            before += self._load_left()
        return before + step * (total - done if phase is Phase.STEP else self._steps) + tail

    @property
    def is_split(self) -> bool:
        """Whether the reports tell the text from the steps."""
        return self._step(self._stepped) is not None

    def seconds(self) -> WorkSeconds | None:
        """Return the seconds of the phases, None before the end or without decoding."""
        if self._stepped is None or self._ended is None:
            return None
        before = self._stepped - self._loaded
        text = self._text(before)
        rest = self._ended - self._stepped
        return WorkSeconds(text, before - text, self._decode, max(rest - self._decode, 0.0))

    def _text(self, before: float) -> float:
        """Return the seconds before the first step; `before` are those before decoding."""
        step = self._step(self._stepped)  # a device may be busy with the last steps after their reports
        if self._first is not None and step is not None:
            return max(self._first[0] - self._loaded - step * self._first[1], 0.0)
        # nothing tells the first report's step from what comes before it: they share as expected, or it is all a step
        both = self._expected.text + self._expected.steps if self._expected else 0.0
        return before * self._expected.text / both if self._expected and both else 0.0

    def _step(self, end: float | None) -> float | None:
        """Return the mean seconds of a step between the first report and `end`."""
        if self._first is None or end is None or self._last[1] <= self._first[1]:
            return None
        return (end - self._first[0]) / (self._last[1] - self._first[1])

    def _download_left(self, done: int, total: int) -> float | None:
        """Return the seconds of a download's rest at its speed so far."""
        if done >= total:
            return 0.0
        since, before = self._download or (0.0, done)  # bytes of an earlier download may be there
        return (self._now() - since) * (total - done) / (done - before) if done > before else None

    def _load_left(self) -> float:
        """Return the expected seconds of the load without those that it has taken."""
        now = self._now() - self._began if self._phase is Phase.LOAD else 0.0
        return max(self._load_seconds - self._load_phase - now, 0.0)

    def _end_phase(self, now: float) -> None:
        if self._phase is Phase.LOAD:
            self._load_phase += now - self._began
        if self._phase is not None:
            self._metrics.phase_ended(self._model, self._phase, now - self._began)
