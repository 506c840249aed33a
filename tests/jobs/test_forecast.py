"""The forecast of the queue: a simulation by the policy, checked against real claims."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import pytest
from sqlalchemy import text
from support.stores import statements

from registry import Input
from router.jobs import ClaimRequest, Database, EngineStore, JobStore
from router.jobs.forecast import BusyEngine, Span, forecast
from router.jobs.queue_forecast import QUEUE, QueueForecasts
from router.jobs.scheduling import QueuedJob
from router.values import Artifact, EngineState, Job, Phase, Progress, Task

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)
LOADS = {"a": 7.0, "b": 3.0, "c": 20.0}  # seconds
BOUND = 1800.0


def queued(seq: int, model: str = "a", due: float = 0.0, estimate: float | None = 10.0) -> QueuedJob:
    return QueuedJob(seq, model, 0, due, estimate)


def spans(queue: list[QueuedJob], *engines: BusyEngine) -> dict[int, Span]:
    return forecast(queue, engines, unknown=3.0, overtake_seconds=BOUND)


def test_the_first_engine_that_is_free_takes_the_next_job() -> None:
    queue = [queued(1), queued(2, estimate=1.0), queued(3), queued(4, estimate=None)]
    found = spans(queue, BusyEngine("a", busy=4.0), BusyEngine("a", busy=0.5))

    assert found == {1: Span(0.5, 10.5), 2: Span(4.0, 5.0), 3: Span(5.0, 15.0), 4: Span(10.5, 13.5)}


def test_a_load_takes_its_time_once() -> None:
    queue = [queued(1), queued(2)]

    assert spans(queue, BusyEngine("a", (), {"a": 6.0})) == {1: Span(0.0, 16.0), 2: Span(16.0, 26.0)}
    assert spans(queue, BusyEngine("a", ["a"], {"a": 0.0})) == {1: Span(0.0, 10.0), 2: Span(10.0, 20.0)}


def test_an_engine_keeps_as_many_models_loaded_as_it_has() -> None:
    queue = [queued(1, "b", due=-1000.0), queued(2, "a")]  # b is due long before

    one = BusyEngine("ab", ["a"], {"a": 6.0, "b": 6.0})
    assert spans(queue, one) == {1: Span(0.0, 16.0), 2: Span(16.0, 32.0)}  # b took the memory of a
    two = BusyEngine("abc", ["c", "a"], {"c": 6.0, "a": 6.0, "b": 6.0})
    assert spans(queue, two) == {1: Span(0.0, 16.0), 2: Span(16.0, 26.0)}  # it took that of c


def test_the_least_recently_used_model_leaves() -> None:
    queue = [queued(1, "a", due=-3000.0), queued(2, "c", due=-2000.0), queued(3, "a"), queued(4, "b")]
    found = spans(queue, BusyEngine("abc", ["a", "b"], {"a": 6.0, "b": 6.0, "c": 6.0}))

    assert found == {1: Span(0.0, 10.0), 2: Span(10.0, 26.0), 3: Span(26.0, 36.0), 4: Span(36.0, 52.0)}


def test_the_model_of_a_running_job_is_loaded_when_that_ends() -> None:
    queue, loads = [queued(1, "a"), queued(2, "b")], {"a": 5.0, "b": 6.0, "c": 7.0}

    loading = BusyEngine("ab", ["a"], loads, busy=9.0, running="b")
    assert spans(queue, loading) == {2: Span(9.0, 19.0), 1: Span(19.0, 34.0)}
    beside = BusyEngine("ab", ["a", "b"], loads, busy=9.0, running="b")
    assert spans(queue, beside) == {1: Span(9.0, 19.0), 2: Span(19.0, 29.0)}
    used_last = BusyEngine("abc", ["a", "b"], loads, busy=9.0, running="a")
    overdue = queued(3, "c", due=-1000.0)
    assert spans([overdue, *queue], used_last) == {3: Span(9.0, 26.0), 1: Span(26.0, 36.0), 2: Span(36.0, 52.0)}


def test_jobs_of_a_model_without_an_engine_are_left_out() -> None:
    queue = [queued(1, "a"), queued(2, "b"), queued(3, "a")]

    assert spans(queue, BusyEngine("a"), BusyEngine("c")) == {1: Span(0.0, 10.0), 3: Span(10.0, 20.0)}
    assert spans(queue) == {}
    assert spans([], BusyEngine("a", busy=3.0)) == {}


def opened(database: Database) -> JobStore:
    return JobStore(database, lease_seconds=30, max_attempts=2, max_queued=10_000)


def add(store: JobStore, *estimates: float | None, model: str = "a", priority: int = 0) -> list[str]:
    names = [f"{time.time_ns()}-{n}" for n, _ in enumerate(estimates)]
    for name, estimate in zip(names, estimates, strict=True):
        store.add(Job(name, "me", model, TASK, created_at=time.time(), priority=priority, estimate=estimate))
    return names


def switch(loaded: str) -> dict[str, float]:
    return {**LOADS, loaded: 0.0}


@pytest.mark.parametrize("seed", range(5))
def test_the_forecast_is_what_engines_do_when_nothing_else_comes(database: Database, seed: int) -> None:
    rng, store = Random(seed), opened(database)
    for _ in range(60):
        add(store, rng.choice([1.0, 3.5, 40.0, 200.0]), model=rng.choice("abc"), priority=rng.choice([0, 0, 1]))
    offers = {"e1": "abc", "e2": "ab", "e3": "bc"}
    loaded = {"e1": "a", "e2": "a", "e3": "c"}
    for name, models in offers.items():
        state = EngineState(name, "cpu", 1, tuple(models), (loaded[name],), loads=LOADS)
        EngineStore(database, lease_seconds=30).heartbeat(state)
    with database.read() as db:
        expected = QueueForecasts(BOUND).read(db, database.instant(db).before(30))
        numbers = {row.id: row.seq for row in db.execute(text("SELECT id, seq FROM jobs"))}

    free, ran = dict.fromkeys(offers, 0.0), {}
    while free:
        now, engine = min((seconds, name) for name, seconds in free.items())
        costs = switch(loaded[engine])
        claim = store.claim(engine, ClaimRequest(offers[engine], [loaded[engine]], switch=costs))
        if claim is None:
            del free[engine]
            continue
        free[engine] = now + costs[claim[1].model] + (claim[1].estimate or 0.0)
        loaded[engine] = claim[1].model
        ran[numbers[claim[1].id]] = Span(now, free[engine])
        store.finish(claim[0], VIDEO)

    assert len(ran) == 60
    assert expected == ran


def test_a_job_of_a_model_without_an_engine_has_no_remaining_time(database: Database) -> None:
    store = opened(database)
    (served,), (other,) = add(store, 5.0), add(store, 5.0, model="b")
    assert [getattr(store.get(job, "me"), "remaining", 0) for job in (served, other)] == [5.0, 10.0]
    engines = EngineStore(database, lease_seconds=30)
    engines.heartbeat(EngineState("single", "cpu", 1, (), ()))  # an engine that takes no other jobs
    assert [getattr(store.get(job, "me"), "remaining", 0) for job in (served, other)] == [5.0, 10.0]
    engines.heartbeat(EngineState("e", "cpu", 1, ("a",), ()))

    assert [getattr(store.get(job, "me"), "remaining", 0) for job in (served, other)] == [5.0, None]


PROGRESS = [
    (None, 6.0 + 50.0),
    (Progress(Phase.DOWNLOAD, 1, 9, 0), 6.0 + 50.0),
    (Progress(Phase.LOAD, 1, 9, 0), 6.0 + 50.0),
    (Progress(Phase.LOAD, 1, 9, 0, remaining=53.0), 53.0),
    (Progress(Phase.STEP, 0, 4, 0), 50.0),
    (Progress(Phase.STEP, 1, 4, 22, remaining=40.0), 40.0),
]


@pytest.mark.parametrize(("progress", "busy"), PROGRESS)
@pytest.mark.parametrize("beats", ["before", "after", "loaded"])
def test_an_engine_is_busy_until_its_job_has_loaded_and_ended(
    database: Database, progress: Progress | None, busy: float, beats: str
) -> None:
    store, engines = opened(database), EngineStore(database, lease_seconds=30)
    state = EngineState("e", "cpu", 1, ("a", "b"), ("a",), loads={"a": 5.0, "b": 6.0})
    (running,) = add(store, 50.0, model="b")
    engines.heartbeat(state)
    claim = store.claim("e", ClaimRequest(["b"]))
    assert claim is not None
    if progress is not None:
        store.report(claim[0], progress)
    if beats != "before":
        engines.heartbeat(replace(state, job=running, resident=() if beats == "after" else ("b",)))
    if beats == "loaded" and (progress is None or progress.remaining is None):
        busy = 50.0
    (same,), (other,) = add(store, 10.0, model="b"), add(store, 10.0)

    assert [getattr(store.get(job, "me"), "remaining", 0) for job in (same, other)] == [busy + 10, busy + 10 + 5 + 10]


def test_a_load_leaves_the_models_of_a_heartbeat_in_its_midst(database: Database) -> None:
    store, engines = opened(database), EngineStore(database, lease_seconds=30)
    (running,) = add(store, 50.0, model="b")
    store.claim("e", ClaimRequest(["b"]))
    loads = {"a": 5.0, "b": 6.0}
    engines.heartbeat(EngineState("e", "cpu", 1, ("a", "b"), ("a",), job=running, loads=loads))
    (job,) = add(store, 10.0)

    assert getattr(store.get(job, "me"), "remaining", 0) == 6.0 + 50.0 + 10.0  # a is loaded still


def test_a_long_queue_is_simulated_once_a_second_whatever_changes(database: Database) -> None:
    store, times = opened(database), [100.0]
    forecasts = QueueForecasts(BOUND, lambda: times[-1])
    add(store, *[1.0] * 101)
    seen = []
    with database.read() as db, statements(QUEUE.text) as made:
        for now in (100.0, 100.5, 100.9, 101.0, 101.5):
            times.append(now)
            add(store, 1.0)
            made.clear()  # of the additions
            seen.append((len(forecasts.read(db, database.instant(db).before(30))), len(made)))

    assert seen == [(102, 1), (102, 0), (102, 0), (105, 1), (105, 0)]


def test_a_long_queue_that_is_held_back_is_read_once_a_second_too(database: Database) -> None:
    store = opened(database)
    forecasts = QueueForecasts(BOUND, lambda: 100.0, lambda db: dict.fromkeys(range(1, 102), "its budget is spent"))
    add(store, *[1.0] * 101)
    with database.read() as db, statements(QUEUE.text) as made:
        forecasts.read(db, database.instant(db).before(30))
        add(store, 1.0)
        made.clear()
        assert (len(forecasts.read(db, database.instant(db).before(30))), made) == (0, [])


def test_a_short_queue_is_simulated_after_each_change_and_else_once(database: Database) -> None:
    store = opened(database)
    forecasts = QueueForecasts(BOUND, lambda: 100.0)
    with database.read() as db, statements(QUEUE.text) as made:
        for count in range(1, 4):
            add(store, 1.0)
            made.clear()
            assert [len(forecasts.read(db, database.instant(db).before(30))) for _ in range(5)] == [count] * 5
            assert len(made) == 1


def test_callers_at_once_wait_for_one_simulation(database: Database) -> None:
    store = opened(database)
    jobs = add(store, *[2.0] * 50)
    fresh = opened(database)
    with statements(QUEUE.text) as made, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda job: fresh.get(job, "me"), jobs))

    assert len(made) == 1
    assert [job and job.remaining for job in found] == [2.0 * n for n in range(1, 51)]
