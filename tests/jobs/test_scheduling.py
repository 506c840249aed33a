"""The scheduling policy: short jobs and loaded models first, bounds, priorities, engine limits."""

import json
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import NamedTuple

import pytest
from support.plans import plan
from support.stores import ON_SQLITE, change, rows

from registry import Input
from router.jobs import ClaimRequest, Database, EngineStore, JobStore, SchedulingPolicy
from router.jobs.claims import HEADS
from router.jobs.scheduling import STRETCH, SWITCH, QueuedJob, allowance, choose
from router.values import Artifact, EngineState, Job, Phase, Progress, Task, UsedAdapter

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)


@pytest.fixture
def store(database: Database) -> JobStore:
    return opened(database)


def opened(database: Database, overtake_seconds: float = 1800) -> JobStore:
    return JobStore(
        database, lease_seconds=30, max_attempts=2, max_queued=1000, policy=SchedulingPolicy(overtake_seconds)
    )


def add(store: JobStore, models: str, priority: int = 0, estimate: float | None = None) -> list[str]:
    """Queue a job for each letter, and return their ids."""
    now = time.time()
    jobs = [
        Job(f"{now:.6f}-{n}", "me", model, TASK, created_at=now, priority=priority, estimate=estimate)
        for n, model in enumerate(models)
    ]
    return [store.add(job).id for job in jobs]


def spread(database: Database, seconds: float) -> None:
    """Have each queued job due `seconds` after the one before it."""
    change(database, "UPDATE jobs SET due_at = seq * :seconds WHERE status = 'queued'", seconds=seconds)


def order(
    store: JobStore, loaded: Sequence[str], models: Collection[str] = "abc", room: int = 1, load: float = 10
) -> str:
    """Run everything on an engine for `room` models; return the models in order."""
    here, ran = list(loaded), ""
    switch = dict.fromkeys(models, load)
    while claim := store.claim("e", ClaimRequest(models, here, switch={**switch, **dict.fromkeys(here, 0.0)})):
        ran += claim[1].model
        if claim[1].model not in here:
            here = [*here, claim[1].model][-room:]
        store.finish(claim[0], VIDEO)
    return ran


def head(seq: int, model: str = "a", priority: int = 0, due: float = 1000.0) -> QueuedJob:
    return QueuedJob(seq, model, priority, due)


@pytest.mark.parametrize(
    ("heads", "chosen"),
    [
        ([head(1), head(2, "b", due=1010.0)], 2),  # what is loaded, although due later
        ([head(1), head(2, "b", due=1000.0 + SWITCH * 5)], 1),  # a load of 5 s is not worth more
        ([head(3, "c"), head(1)], 1),  # nothing loaded: the quicker load
        ([head(3, "c", due=990.0), head(1, "c", due=991.0)], 3),  # the one that is due first
        ([head(3, "b"), head(1, "d")], 1),  # due at once, both at hand: the older
        ([head(1, due=900.0), head(2, "c", due=699.0)], 2),  # a slow load delays by 300 s at most
        ([head(1, due=800.0), head(2, "c", due=701.0)], 1),
        ([head(1, due=0.0), head(2, "b"), head(3, "c", priority=1)], 3),  # a higher priority goes before all that
    ],
)
def test_who_is_chosen(heads: list[QueuedJob], chosen: int) -> None:
    switch = {"a": 5.0, "b": 0.0, "c": 1000.0}

    assert choose(heads, switch, overtake_seconds=300.0).seq == chosen


def test_a_job_is_due_after_a_multiple_of_its_estimate_within_the_bound() -> None:
    assert allowance(2.0, overtake_seconds=1800.0) == 2.0 * STRETCH
    assert allowance(1000.0, overtake_seconds=1800.0) == 1800.0
    assert allowance(0.0, overtake_seconds=1800.0) == 0.0


def test_the_order_of_the_heads_does_not_matter() -> None:
    rng = Random(3)
    for _ in range(200):
        heads = [head(n, rng.choice("abcd"), rng.randint(0, 1), rng.choice([1.0, 2.0, 50.0])) for n in range(6)]
        switch = {"a": 0.0, "b": 2.0, "c": 2.0}
        shuffled = rng.sample(heads, len(heads))

        assert choose(shuffled, switch, 300.0) == choose(heads, switch, 300.0)


class Day(NamedTuple):
    """The jobs of a simulated engine in the order of its claims."""

    claims: list[tuple[QueuedJob, float, float]]  # with the times of arrival and claim
    waiting: list[frozenset[int]]  # the numbers of the jobs that were queued at each claim


def simulated(seed: int, *, switch: float, overtake: float = 100.0, priorities: Sequence[int] = (0,)) -> Day:
    """Run 300 random jobs of three models on an engine with memory for one."""
    rng = Random(seed)
    arrivals, now = [], 0.0
    for seq in range(300):
        now += rng.expovariate(1 / 4)
        estimate = rng.choice([0.1, 1.0, 1.0, 3.0, 20.0])
        due = now + allowance(estimate, overtake)
        arrivals.append((now, QueuedJob(seq, rng.choice("abc"), rng.choice(priorities), due, estimate)))
    queue: dict[int, tuple[float, QueuedJob]] = {}
    day, now, loaded = Day([], []), 0.0, "a"
    while arrivals or queue:
        now = max(now, arrivals[0][0]) if not queue else now
        while arrivals and arrivals[0][0] <= now:
            came = arrivals.pop(0)
            queue[came[1].seq] = came
        heads = [
            min(of_model, key=lambda job: (-job.priority, job.due_at, job.seq))
            for model in "abc"
            if (of_model := [job for _, job in queue.values() if job.model == model])
        ]
        costs = {model: 0.0 if model == loaded else switch for model in "abc"}
        chosen = choose(heads, costs, overtake)
        day.waiting.append(frozenset(queue))
        day.claims.append((chosen, queue.pop(chosen.seq)[0], now))
        now, loaded = now + costs[chosen.model] + (chosen.estimate or 0), chosen.model
    return day


def overtakes(day: Day) -> Iterator[tuple[tuple[QueuedJob, float, float], tuple[QueuedJob, float, float]]]:
    """Yield the claim of each overtaken job, and that of the overtaking one."""
    for place, early in enumerate(day.claims):
        for late in day.claims[place + 1 :]:
            if late[0].seq < early[0].seq and late[0].priority == early[0].priority:
                yield late, early


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("switch", [0.0, 2.0, 1000.0])
def test_no_later_arrival_than_twice_the_bound_overtakes_a_job(seed: int, switch: float) -> None:
    pairs = list(overtakes(simulated(seed, switch=switch, priorities=(0, 0, 1))))

    assert len(pairs) > 100  # or the test would be of nothing
    assert [(late, early) for late, early in pairs if early[1] > late[1] + 200.0] == []


@pytest.mark.parametrize("seed", range(6))
def test_no_arrival_after_its_due_time_overtakes_a_job_where_loads_take_no_time(seed: int) -> None:
    pairs = list(overtakes(simulated(seed, switch=0.0)))

    assert len(pairs) > 100
    assert [(late, early) for late, early in pairs if early[1] > late[0].due_at] == []


@pytest.mark.parametrize("seed", range(6))
def test_every_job_runs_and_the_highest_priority_always_first(seed: int) -> None:
    day = simulated(seed, switch=2.0, priorities=(-1, 0, 1))
    priority = {job.seq: job.priority for job, _, _ in day.claims}

    assert sorted(priority) == list(range(300))
    assert all(
        job.priority == max(priority[seq] for seq in waiting)
        for (job, _, _), waiting in zip(day.claims, day.waiting, strict=True)
    )


@pytest.mark.parametrize("seed", range(6))
def test_equal_jobs_run_in_order_of_arrival(seed: int) -> None:
    kinds: dict[tuple[str, int, float | None], list[int]] = {}
    for job, _, _ in simulated(seed, switch=2.0, priorities=(0, 1)).claims:
        kinds.setdefault((job.model, job.priority, job.estimate), []).append(job.seq)

    assert all(numbers == sorted(numbers) for numbers in kinds.values())


def test_a_simulated_day_is_the_same_each_time() -> None:
    assert simulated(1, switch=2.0) == simulated(1, switch=2.0) != simulated(2, switch=2.0)


def test_a_short_job_passes_a_long_one_and_a_long_one_does_not_pass_it(store: JobStore) -> None:
    (long,) = add(store, "a", estimate=900.0)
    (short,) = add(store, "a", estimate=4.0)
    (other,) = add(store, "a", estimate=900.0)

    claims = [store.claim("e", ClaimRequest("a")) for _ in range(3)]
    assert [claim[1].id for claim in claims if claim] == [short, long, other]


def test_a_job_without_an_estimate_counts_as_the_mean_of_the_queued_ones(store: JobStore, database: Database) -> None:
    for estimate in (None, 2.0, 4.0, None):
        add(store, "a", estimate=estimate)
    allowed = [due - came for due, came in rows(database, "SELECT due_at, arrived_at FROM jobs ORDER BY seq")]

    assert allowed == pytest.approx([0.0, 2 * STRETCH, 4 * STRETCH, 3 * STRETCH])


def test_jobs_for_what_is_loaded_go_first_within_bounds(store: JobStore, database: Database) -> None:
    add(store, "abababab")
    spread(database, SWITCH * 5)

    assert order(store, loaded=["a"]) == "aabbbaab"  # a load of 10 s is worth two of these


def test_jobs_of_one_model_with_other_adapters_are_jobs_of_a_loaded_model(store: JobStore, database: Database) -> None:
    for n, (model, adapter) in enumerate(zip("ababab", ("x", "x", "y", "y", "z", ""), strict=True)):
        task = replace(TASK, adapters=(UsedAdapter(adapter),) if adapter else ())
        store.add(Job(f"{n}", "me", model, task, created_at=time.time()))
    spread(database, SWITCH * 5)

    assert order(store, loaded=["a"]) == "aabbba"
    add(store, "ababab")
    spread(database, SWITCH * 5)
    assert order(store, loaded=["a"]) == "aabbba"  # as without adapters


def test_with_a_bound_of_next_to_nothing_the_first_goes_first(database: Database) -> None:
    store = opened(database, overtake_seconds=1e-9)
    models = "bacaabca"
    for model, estimate in zip(models, (9.0, 1.0, 5.0, 2.0, 1.0, 9.0, 3.0, 1.0), strict=True):
        add(store, model, estimate=estimate)

    assert order(store, loaded=["a"]) == models


def test_a_group_of_models_needs_far_fewer_switches(store: JobStore) -> None:
    rng = Random(1)
    add(store, "".join(rng.choice("abc") for _ in range(200)))
    ran = order(store, loaded=[], room=1)

    assert sum(one != next_ for one, next_ in pairwise(ran)) < 20  # in order of arrival about 133


def test_a_higher_priority_goes_first_and_its_place_says_so(store: JobStore) -> None:
    low = add(store, "ab", priority=-1)
    usual = add(store, "a")
    high = add(store, "b", priority=1)
    places = [getattr(store.get(job, "me"), "ahead", None) for job in (*low, *usual, *high)]

    assert places == [2, 3, 1, 0]
    assert order(store, loaded=["a"]) == "baab"


def engine(store: JobStore, name: str, *resident: str) -> None:
    EngineStore(store._db, lease_seconds=30).heartbeat(EngineState(name, "cpu", 1, ("a", "b"), resident))


def test_a_model_is_on_so_many_engines_at_most(store: JobStore) -> None:
    add(store, "aaab")
    first = store.claim("e1", ClaimRequest("ab", most={"a": 1}))
    second = store.claim("e2", ClaimRequest("ab", most={"a": 1}))

    assert [claim and claim[1].model for claim in (first, second)] == ["a", "b"]
    assert store.claim("e3", ClaimRequest("ab", most={"a": 1})) is None
    assert first is not None
    store.finish(first[0], VIDEO)
    engine(store, "e1", "a")  # it keeps the model
    assert store.claim("e3", ClaimRequest("a", most={"a": 1})) is None
    assert store.claim("e1", ClaimRequest("a", ["a"], most={"a": 1})) is not None


def test_two_engines_that_loaded_a_model_at_once_do_not_block_each_other(store: JobStore) -> None:
    add(store, "aa")
    for name in ("e1", "e2"):
        engine(store, name, "a")

    assert store.claim("e2", ClaimRequest("a", ["a"], most={"a": 1})) is None
    assert store.claim("e1", ClaimRequest("a", ["a"], most={"a": 1})) is not None


@ON_SQLITE
def test_the_search_for_the_next_job_reads_indexes_only(store: JobStore) -> None:
    with store._db.read() as db:
        wanted = {"models": json.dumps(["a"]), "key_running": None, "held_back": "[]"}
        steps = plan(db, HEADS, wanted)

    assert "jobs_queue (status=? AND model=?)" in steps
    assert not any(word in steps for word in ("FOR ORDER BY", "SCAN jobs", "SCAN queued"))


def test_the_time_until_a_job_is_done_adds_up_what_is_before_it(store: JobStore) -> None:
    first, second, third = add(store, "aa", estimate=10.0) + add(store, "a")
    claim = store.claim("e", ClaimRequest("a"))
    assert claim is not None
    before = store.get(second, "me")
    store.report(claim[0], Progress(Phase.STEP, 2, 4, 45, remaining=4.0))
    running, after, unknown = (store.get(job, "me") for job in (first, second, third))

    assert [job and job.remaining for job in (before, running, after, unknown)] == [20.0, 4.0, 14.0, None]
    for name in ("e", "f"):
        engine(store, name)
    shared = store.get(second, "me")
    assert shared is not None
    assert shared.remaining == 10.0  # the second engine is free for it at once
