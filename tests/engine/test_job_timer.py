"""Seconds of phases and steps, and the seconds that remain."""

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
from support.moved_clock import Clock

from router.engine.job_timer import JobTimer
from router.values import Phase, Pixels, WorkSeconds

CHUNK = np.zeros((1, 2, 2, 3), np.uint8)


class Observed:
    """Keeps what a timer observes."""

    def __init__(self) -> None:
        self.phases: list[tuple[Phase, float]] = []
        self.steps: list[float] = []

    def phase_ended(self, model: str, phase: Phase, seconds: float) -> None:
        self.phases.append((phase, seconds))

    def step_done(self, model: str, seconds: float) -> None:
        self.steps.append(seconds)


def timer_of(
    expected: WorkSeconds | None = None, steps: int = 10, observed: Observed | None = None
) -> tuple[JobTimer, Clock]:
    clock = Clock()
    return JobTimer("m", steps, expected, observed or Observed(), clock), clock  # type: ignore[arg-type]


def run(
    timer: JobTimer, clock: Clock, *, load: float, text: float, steps: list[float], decode: float, encode: float
) -> None:
    """Run a job whose phases take this long; each step is reported."""
    clock.wait(1.0)
    with timer.loading():
        clock.wait(load)
    timer.report(Phase.STEP, 0)
    clock.wait(text)
    for number, seconds in enumerate(steps, 1):
        clock.wait(seconds)
        timer.report(Phase.STEP, number)
    timer.report(Phase.DECODE, 0)
    for _ in timer.decoding(_chunks(clock, decode / 2)):
        clock.wait(encode / 2)
    timer.end()


def _chunks(clock: Clock, seconds: float) -> Iterator[Pixels]:
    for _ in range(2):
        clock.wait(seconds)
        yield CHUNK


def test_nothing_remains_before_anything_is_known() -> None:
    timer, _ = timer_of()
    timer.report(Phase.LOAD, 0)
    timer.report(Phase.STEP, 0)

    assert timer.remaining(Phase.LOAD, 0, 1) is timer.remaining(Phase.STEP, 0, 10) is timer.seconds() is None


def test_the_seconds_of_earlier_jobs_count_until_this_one_has_its_own() -> None:
    timer, clock = timer_of(WorkSeconds(text=1.0, steps=20.0, decode=3.0, encode=2.0))
    timer.report(Phase.STEP, 0)

    assert timer.remaining(Phase.LOAD, 0, 1) == timer.remaining(Phase.STEP, 0, 10) == 26.0
    clock.wait(4.0)
    timer.report(Phase.STEP, 1)
    assert timer.remaining(Phase.STEP, 1, 10) == 9 * 2.0 + 5.0  # the text is in its first step
    clock.wait(3.0)
    timer.report(Phase.STEP, 2)
    assert timer.remaining(Phase.STEP, 2, 10) == 8 * 3.0 + 5.0
    assert timer.remaining(Phase.DECODE, 1, 5) == 4.0


def test_the_first_job_guesses_what_follows_its_steps() -> None:
    timer, clock = timer_of(steps=9)
    timer.report(Phase.STEP, 0)
    clock.wait(1.0)
    timer.report(Phase.STEP, 1)

    assert timer.remaining(Phase.STEP, 9, 9) == pytest.approx(1.0)


def test_a_job_is_timed_by_phase_and_its_load_is_no_work() -> None:
    timer, clock = timer_of(steps=3)
    run(timer, clock, load=50.0, text=4.0, steps=[2.0, 2.0, 2.0], decode=3.0, encode=5.0)

    assert timer.seconds() == WorkSeconds(text=4.0, steps=6.0, decode=3.0, encode=5.0)
    assert timer.is_split
    assert timer.work == 1.0 + 18.0
    assert timer.steps == 3
    clock.wait(9.0)
    assert timer.work == 1.0 + 18.0


def test_what_a_device_still_computes_after_the_last_report_is_steps() -> None:
    timer, clock = timer_of(steps=5)
    timer.report(Phase.STEP, 0)
    clock.wait(1.0)
    for step in range(1, 6):
        timer.report(Phase.STEP, step)
    clock.wait(8.0)
    timer.report(Phase.DECODE, 0)
    timer.end()

    assert timer.seconds() == WorkSeconds(text=0.0, steps=9.0, decode=0.0, encode=0.0)


def test_a_report_of_several_steps_leaves_their_mean_to_each() -> None:
    timer, clock = timer_of(steps=8)
    clock.wait(5.0)
    for step in (4, 8):
        clock.wait(8.0)
        timer.report(Phase.STEP, step)
    timer.report(Phase.DECODE, 0)
    timer.end()

    assert timer.seconds() == WorkSeconds(text=5.0, steps=16.0, decode=0.0, encode=0.0)


@pytest.mark.parametrize(
    ("expected", "text", "steps"),
    [(None, 0.0, 8.0), (WorkSeconds(1.0, 3.0, 9.0, 9.0), 2.0, 6.0), (WorkSeconds(0.0, 0.0, 9.0, 9.0), 0.0, 8.0)],
)
def test_one_step_and_its_text_share_as_expected_or_all_is_the_step(
    expected: WorkSeconds | None, text: float, steps: float
) -> None:
    timer, clock = timer_of(expected, steps=1)
    run(timer, clock, load=1.0, text=5.0, steps=[3.0], decode=2.0, encode=1.0)

    assert timer.seconds() == WorkSeconds(text, steps, decode=2.0, encode=1.0)
    assert not timer.is_split


def test_a_backend_without_reports_has_the_seconds_of_its_steps() -> None:
    timer, clock = timer_of()
    run(timer, clock, load=1.0, text=5.0, steps=[], decode=2.0, encode=1.0)

    assert timer.seconds() == WorkSeconds(0.0, 5.0, decode=2.0, encode=1.0)


def test_the_phases_of_a_job_add_up_however_uneven_its_steps() -> None:
    timer, clock = timer_of(steps=4)
    run(timer, clock, load=0.0, text=0.0, steps=[0.5, 3.0, 2.0, 4.0], decode=1.0, encode=0.0)
    seconds = timer.seconds()

    assert seconds is not None
    assert seconds.text == 0.0
    assert seconds.total == pytest.approx(10.5)


def test_a_load_that_fails_is_a_load() -> None:
    timer, clock = timer_of()
    with suppress(OSError), timer.loading():
        clock.wait(30.0)
        raise OSError

    assert timer.work == 0.0


def test_phases_that_end_and_steps_but_the_first_are_observed() -> None:
    observed = Observed()
    timer, clock = timer_of(observed=observed)
    for phase, done in ((Phase.LOAD, 1), (Phase.STEP, 0), (Phase.STEP, 1), (Phase.STEP, 3), (Phase.DECODE, 1)):
        timer.report(phase, done)
        clock.wait(2.0)
    timer.end()

    assert observed.phases == [(Phase.LOAD, 2.0), (Phase.STEP, 6.0), (Phase.DECODE, 2.0)]
    assert observed.steps == [1.0, 1.0]


def test_what_is_left_of_a_load_remains_too() -> None:
    clock = Clock()
    expected = WorkSeconds(text=1.0, steps=20.0, decode=3.0, encode=1.0)
    timer = JobTimer("m", 10, expected, Observed(), clock, load_seconds=6.0)  # type: ignore[arg-type]
    timer.report(Phase.LOAD, 0)

    assert timer.remaining(Phase.LOAD, 0, 1) == 31.0
    clock.wait(4.0)
    assert timer.remaining(Phase.LOAD, 0, 1) == 27.0
    clock.wait(4.0)  # longer than expected
    assert timer.remaining(Phase.LOAD, 0, 1) == 25.0
    timer.report(Phase.STEP, 0)
    assert timer.remaining(Phase.STEP, 0, 10) == 25.0


def test_a_load_remains_while_files_are_downloaded() -> None:
    clock = Clock()
    expected = WorkSeconds(text=1.0, steps=20.0, decode=3.0, encode=1.0)
    timer = JobTimer("m", 10, expected, Observed(), clock, load_seconds=6.0)  # type: ignore[arg-type]
    for phase, remaining in [(Phase.DOWNLOAD, 31.0), (Phase.LOAD, 31.0), (Phase.DOWNLOAD, 29.0), (Phase.LOAD, 29.0)]:
        timer.report(phase, 1)
        assert timer.remaining(phase, 1, 1) == remaining
        clock.wait(2.0 if phase is Phase.LOAD else 100.0)


def test_the_rest_of_a_download_remains_too_once_its_speed_is_known() -> None:
    clock = Clock()
    expected = WorkSeconds(text=1.0, steps=20.0, decode=3.0, encode=1.0)
    timer = JobTimer("m", 10, expected, Observed(), clock, load_seconds=6.0)  # type: ignore[arg-type]
    seen = []
    for done, total in [(0, 1), (700, 1300), (900, 1300), (1300, 1300), (0, 1), (800, 5000), (900, 5000)]:
        timer.report(Phase.DOWNLOAD, done)
        seen.append(timer.remaining(Phase.DOWNLOAD, done, total))
        clock.wait(2.0)

    assert seen == [None, None, 31.0 + 4.0, 31.0, None, None, 31.0 + 82.0]
