"""Seconds that are left, from what has been seen."""

from __future__ import annotations

import pytest

from router.engine.timing import Stopwatch
from router.values import Phase, StepTiming


def watch(known: StepTiming | None = None, steps: int = 10) -> tuple[Stopwatch, list[float]]:
    clock = [100.0]
    return Stopwatch(known, steps, lambda: clock[0]), clock


def test_nothing_is_said_before_anything_is_known() -> None:
    timed, _ = watch()
    timed.hear(Phase.LOAD, 0)
    timed.hear(Phase.STEP, 0)

    assert timed.remaining(Phase.LOAD, 0, 1) is timed.remaining(Phase.STEP, 0, 10) is timed.pace() is None


def test_what_earlier_jobs_took_is_said_at_once_and_what_this_one_takes_replaces_it() -> None:
    timed, clock = watch(StepTiming(step=2.0, rest=5.0))
    timed.hear(Phase.STEP, 0)

    assert timed.remaining(Phase.LOAD, 0, 1) == timed.remaining(Phase.STEP, 0, 10) == 25.0
    clock[0] += 3.0
    timed.hear(Phase.STEP, 1)
    assert timed.remaining(Phase.STEP, 1, 10) == 9 * 3.0 + 5.0
    assert timed.remaining(Phase.DECODE, 1, 5) == 4.0


def test_the_first_job_guesses_what_follows_its_steps() -> None:
    timed, clock = watch(steps=9)
    timed.hear(Phase.STEP, 0)
    clock[0] += 1.0
    timed.hear(Phase.STEP, 1)

    assert timed.remaining(Phase.STEP, 9, 9) == pytest.approx(1.0)


def test_a_job_shows_its_pace() -> None:
    timed, clock = watch()
    for step in range(5):
        timed.hear(Phase.STEP, step)
        timed.hear(Phase.STEP, step)  # a beat that tells nothing new
        clock[0] += 2.0
    timed.hear(Phase.DECODE, 3)
    clock[0] += 1.0

    assert timed.pace() == StepTiming(step=2.0, rest=3.0)
