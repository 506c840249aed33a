"""Measured seconds in the store, and estimates by kind, size and variant."""

import time
from dataclasses import replace
from types import MappingProxyType

import pytest
from sqlalchemy import event

from registry import Input, ModelSpec
from registry.families import find
from registry.modality import Modality
from router.jobs import Database, TimingStore
from router.jobs.accounts.timings import SIZES
from router.values import Estimate, EstimateBasis, Expected, Origin, Task, WorkSeconds

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
SECONDS = WorkSeconds(text=1.0, steps=4.0, decode=2.0, encode=0.5)
MEASURED, FITTED, BORROWED = EstimateBasis
COLD, WARM = Origin


def model_of(name: str = "a", **options: object) -> ModelSpec:
    family = find("wan-nano-t2v")
    assert family is not None
    return ModelSpec(name, "still", Modality.T2V, family.defaults, family.limits, 16, options=MappingProxyType(options))


MODEL = model_of()


@pytest.fixture
def timings(database: Database) -> TimingStore:
    return TimingStore(database)


def test_nothing_is_expected_before_the_first_job(timings: TimingStore) -> None:
    assert timings.estimate(MODEL, TASK) is timings.estimate(MODEL, TASK, ["cpu"]) is None


def test_what_a_job_took_is_expected_of_the_next_by_its_steps(timings: TimingStore) -> None:
    timings.learn("cpu", MODEL, TASK, SECONDS)

    assert timings.estimate(MODEL, TASK) == Estimate(SECONDS, MEASURED)
    assert timings.estimate(MODEL, replace(TASK, steps=8)) == Estimate(replace(SECONDS, steps=8.0), MEASURED)


def test_one_slow_job_among_others_changes_nothing_and_a_new_speed_is_learnt(timings: TimingStore) -> None:
    slow = WorkSeconds(*(20 * each for each in vars(SECONDS).values()))
    for seconds in (slow, SECONDS, SECONDS, SECONDS, slow, SECONDS):
        timings.learn("cpu", MODEL, TASK, seconds)
    assert timings.estimate(MODEL, TASK) == Estimate(SECONDS, MEASURED)

    for _ in range(6):
        timings.learn("cpu", MODEL, TASK, slow)
    assert timings.estimate(MODEL, TASK) == Estimate(slow, MEASURED)


def test_another_size_is_fitted_and_another_model_borrows(timings: TimingStore) -> None:
    timings.learn("cpu", MODEL, TASK, SECONDS)
    larger = timings.estimate(MODEL, replace(TASK, width=128, height=128))
    other = timings.estimate(model_of("b"), TASK)

    assert larger is not None
    assert larger.basis is FITTED
    assert larger.seconds.total > SECONDS.total
    assert other is not None
    assert other.basis is BORROWED
    assert other.seconds.total == pytest.approx(SECONDS.total)


def test_each_kind_of_device_has_its_own_seconds_and_several_their_mean(timings: TimingStore) -> None:
    timings.learn("fast", MODEL, TASK, SECONDS)
    timings.learn("slow", MODEL, TASK, WorkSeconds(3.0, 8.0, 4.0, 1.5))

    assert timings.estimate(MODEL, TASK, ["fast"]) == Estimate(SECONDS, MEASURED)
    mean = Estimate(WorkSeconds(2.0, 6.0, 3.0, 1.0), MEASURED)
    assert timings.estimate(MODEL, TASK) == timings.estimate(MODEL, TASK, ["slow", "fast", "unseen"]) == mean
    assert timings.estimate(MODEL, TASK, ["unseen"]) is None


def test_a_kind_that_has_run_another_size_only_is_fitted_beside_one_that_is_measured(timings: TimingStore) -> None:
    timings.learn("fast", MODEL, TASK, SECONDS)
    timings.learn("slow", MODEL, replace(TASK, width=128), WorkSeconds(9.0, 9.0, 9.0, 9.0))
    found = timings.estimate(MODEL, TASK)

    assert found is not None
    assert found.basis is FITTED
    assert found.seconds.text == pytest.approx((1.0 + 9.0) / 2)


def test_another_variant_is_fitted_until_it_is_measured(timings: TimingStore) -> None:
    changed = model_of(fast=False)
    timings.learn("cpu", MODEL, TASK, SECONDS)

    found = timings.estimate(changed, TASK)
    assert found is not None
    assert found.basis is FITTED
    assert found.seconds.total == pytest.approx(SECONDS.total)
    double = WorkSeconds(2.0, 8.0, 4.0, 1.0)
    timings.learn("cpu", changed, TASK, double)
    assert timings.estimate(changed, TASK) == Estimate(double, MEASURED)
    assert timings.estimate(MODEL, TASK) == Estimate(SECONDS, MEASURED)


def test_the_sizes_of_the_newest_jobs_are_kept(timings: TimingStore) -> None:
    sizes = [replace(TASK, num_frames=4 * n + 1) for n in range(SIZES + 2)]
    for task in sizes:
        timings.learn("cpu", MODEL, task, SECONDS)
    bases = [found.basis for task in sizes if (found := timings.estimate(MODEL, task))]

    assert bases == [FITTED, FITTED, *[MEASURED] * SIZES]


def test_the_newest_sizes_are_those_learnt_last_whatever_the_clock_says(
    timings: TimingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [replace(TASK, num_frames=4 * n + 1) for n in range(SIZES + 2)]
    for n, task in enumerate(sizes):
        monkeypatch.setattr(time, "time", lambda n=n: 1e9 - n)
        timings.learn("cpu", MODEL, task, SECONDS)
        timings.learn("another", MODEL, sizes[0], SECONDS)
    bases = [found.basis for task in sizes if (found := timings.estimate(MODEL, task, ["cpu"]))]

    assert bases == [FITTED, FITTED, *[MEASURED] * SIZES]


def test_a_job_whose_text_is_told_from_its_steps_replaces_those_before(timings: TimingStore) -> None:
    for _ in range(3):
        timings.learn("cpu", MODEL, replace(TASK, steps=1), WorkSeconds(0.0, 4.0, 1.0, 1.0), is_split=False)
    assert timings.estimate(MODEL, TASK) == Estimate(WorkSeconds(0.0, 16.0, 1.0, 1.0), MEASURED)
    timings.learn("cpu", MODEL, replace(TASK, steps=40), WorkSeconds(3.0, 40.0, 1.0, 1.0))
    assert timings.estimate(MODEL, TASK) == Estimate(WorkSeconds(3.0, 4.0, 1.0, 1.0), MEASURED)

    for _ in range(9):  # they have shared as expected, and are twice as fast
        timings.learn("cpu", MODEL, replace(TASK, steps=1), WorkSeconds(1.5, 0.5, 0.5, 0.5), is_split=False)
    assert timings.estimate(MODEL, TASK) == Estimate(WorkSeconds(1.5, 2.0, 0.5, 0.5), MEASURED)
    timings.learn("cpu", MODEL, TASK, SECONDS)
    assert timings.estimate(MODEL, TASK) == Estimate(WorkSeconds(1.5, 2.0, 0.5, 0.5), MEASURED)


@pytest.mark.parametrize(
    ("wanted", "most"), [(TASK, 1), (replace(TASK, width=128), 2)], ids=["a known size", "a new size"]
)
def test_an_estimate_takes_few_queries(database: Database, wanted: Task, most: int) -> None:
    timings = TimingStore(database)
    timings.learn("cpu", MODEL, TASK, SECONDS)
    queries: list[object] = []
    event.listen(database._engine, "before_cursor_execute", lambda *arguments: queries.append(arguments[2]))

    assert timings.estimate(MODEL, wanted, ["cpu"]) is not None
    assert len(queries) <= most


def test_a_load_takes_what_loads_of_its_origin_took(timings: TimingStore) -> None:
    for seconds in (30.0, 10.0, 12.0):
        timings.learn_load("cpu", MODEL, COLD, seconds)
    timings.learn_load("cpu", MODEL, WARM, 1.0)

    assert timings.load_seconds(MODEL, "cpu", COLD) == 12.0
    assert timings.load_seconds(MODEL, "cpu", WARM) == 1.0
    assert timings.load_seconds(MODEL, "other", COLD) is timings.load_seconds(model_of("b"), "cpu", COLD) is None


def test_a_warm_load_that_was_not_measured_takes_no_longer_than_a_cold_one(timings: TimingStore) -> None:
    timings.learn_load("cpu", MODEL, COLD, 12.0)

    assert timings.load_seconds(MODEL, "cpu", WARM) == 12.0


def test_a_warm_load_says_nothing_of_a_cold_one(timings: TimingStore) -> None:
    timings.learn_load("cpu", MODEL, WARM, 1.0)

    assert timings.load_seconds(MODEL, "cpu", COLD) is None


def test_a_new_variant_loads_like_the_former_one_until_it_is_measured(timings: TimingStore) -> None:
    changed = model_of(dtype="bf16")
    timings.learn_load("cpu", MODEL, COLD, 12.0)
    assert timings.load_seconds(changed, "cpu", COLD) == 12.0

    timings.learn_load("cpu", changed, COLD, 6.0)
    assert timings.load_seconds(changed, "cpu", COLD) == 6.0
    assert timings.load_seconds(MODEL, "cpu", COLD) == 12.0


def test_what_is_expected_of_models_is_listed_by_kind(timings: TimingStore) -> None:
    timings.learn("slow", MODEL, TASK, SECONDS)
    timings.learn_load("fast", MODEL, COLD, 12.0)
    timings.learn_load("slow", MODEL, WARM, 2.0)

    assert timings.expected([(MODEL, TASK), (model_of("b"), TASK)]) == {
        "a": (Expected("fast", None, 12.0, 12.0), Expected("slow", Estimate(SECONDS, MEASURED), None, 2.0)),
        "b": (),
    }
