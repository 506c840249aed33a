"""Times of phases and steps, and the seconds that remain."""

import pytest

from router.engine.step_timer import StepTimer
from router.values import Phase, StepTiming


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
    known: StepTiming | None = None, steps: int = 10, observed: Observed | None = None
) -> tuple[StepTimer, list[float]]:
    clock = [100.0]
    return StepTimer("m", steps, known, observed or Observed(), lambda: clock[0]), clock


def test_nothing_remains_before_anything_is_known() -> None:
    timer, _ = timer_of()
    timer.report(Phase.LOAD, 0)
    timer.report(Phase.STEP, 0)

    assert timer.remaining(Phase.LOAD, 0, 1) is timer.remaining(Phase.STEP, 0, 10) is timer.timing() is None


def test_the_timing_of_earlier_jobs_counts_until_this_one_has_its_own() -> None:
    timer, clock = timer_of(StepTiming(step=2.0, rest=5.0))
    timer.report(Phase.STEP, 0)

    assert timer.remaining(Phase.LOAD, 0, 1) == timer.remaining(Phase.STEP, 0, 10) == 25.0
    clock[0] += 3.0
    timer.report(Phase.STEP, 1)
    assert timer.remaining(Phase.STEP, 1, 10) == 9 * 3.0 + 5.0
    assert timer.remaining(Phase.DECODE, 1, 5) == 4.0


def test_the_first_job_guesses_what_follows_its_steps() -> None:
    timer, clock = timer_of(steps=9)
    timer.report(Phase.STEP, 0)
    clock[0] += 1.0
    timer.report(Phase.STEP, 1)

    assert timer.remaining(Phase.STEP, 9, 9) == pytest.approx(1.0)


def test_a_job_has_a_timing() -> None:
    timer, clock = timer_of()
    for step in range(5):
        timer.report(Phase.STEP, step)
        timer.report(Phase.STEP, step)  # the same report again
        clock[0] += 2.0
    timer.report(Phase.DECODE, 3)
    clock[0] += 1.0

    assert timer.timing() == StepTiming(step=2.0, rest=3.0)


def test_phases_that_end_and_steps_but_the_first_are_observed() -> None:
    observed = Observed()
    timer, clock = timer_of(observed=observed)
    for phase, done in ((Phase.LOAD, 1), (Phase.STEP, 0), (Phase.STEP, 1), (Phase.STEP, 3), (Phase.DECODE, 1)):
        timer.report(phase, done)
        clock[0] += 2.0
    timer.end()

    assert observed.phases == [(Phase.LOAD, 2.0), (Phase.STEP, 6.0), (Phase.DECODE, 2.0)]
    assert observed.steps == [1.0, 1.0]
