"""The scheduling policy: loaded models first, bounded overtaking, priorities, engine limits."""

import json
import sqlite3
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import text

from registry import Input
from router.jobs import ClaimRequest, Database, EngineStore, JobStore, SchedulingPolicy
from router.jobs.claims import HEADS
from router.jobs.scheduling import QueueHead, choose
from router.values import Artifact, EngineState, Job, Phase, Progress, Task, UsedAdapter

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return opened(tmp_path)


def opened(folder: Path, overtake_seconds: float = 600) -> JobStore:
    database = Database(folder / "jobs.sqlite")
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


def order(store: JobStore, loaded: Sequence[str], models: Collection[str] = "abc", room: int = 1) -> str:
    """Run everything on an engine for `room` models; return the models in order."""
    here, ran = list(loaded), ""
    while claim := store.claim("e", ClaimRequest(models, here)):
        ran += claim[1].model
        if claim[1].model not in here:
            here = [*here, claim[1].model][-room:]
        store.finish(claim[0], VIDEO)
    return ran


def head(seq: int, model: str = "a", priority: int = 0, due: int = 99, overtaken_at: float | None = None) -> QueueHead:
    return QueueHead(seq, model, priority, due, overtaken_at)


@pytest.mark.parametrize(
    ("heads", "chosen"),
    [
        ([head(1), head(2, "b")], 2),  # what is loaded, although younger
        ([head(3, "c"), head(1)], 1),  # nothing loaded: the oldest
        ([head(1, due=5), head(2, "b")], 1),  # due this turn
        ([head(1, due=6), head(2, "b")], 2),  # not yet
        ([head(1, due=5), head(2, "c", due=4), head(3, "b")], 2),  # due the longest
        ([head(1, overtaken_at=989.0), head(2, "b")], 1),  # overtaken for longer than anybody may be
        ([head(1, overtaken_at=991.0), head(2, "b")], 2),
        ([head(1, overtaken_at=1001.0), head(2, "b")], 1),  # that was before the machine started
        ([head(1, due=0), head(2, "b"), head(3, "c", priority=1)], 3),  # a higher priority goes before all that
    ],
)
def test_who_is_chosen(heads: list[QueueHead], chosen: int) -> None:
    assert choose(heads, {"b"}, claims=5, now=1000.0, overtake_seconds=10.0).seq == chosen


def test_jobs_for_what_is_loaded_go_first_within_bounds(store: JobStore) -> None:
    add(store, "abababab")

    assert order(store, loaded=["a"]) == "aabbbbaa"  # the b that came second is due when two have run


def test_jobs_of_one_model_with_other_adapters_are_jobs_of_a_loaded_model(store: JobStore) -> None:
    for n, (model, adapter) in enumerate(zip("ababab", ("x", "x", "y", "y", "z", ""), strict=True)):
        task = replace(TASK, adapters=(UsedAdapter(adapter),) if adapter else ())
        store.add(Job(f"{n}", "me", model, task, created_at=time.time()))

    assert order(store, loaded=["a"]) == "aabbba"  # as without adapters: the b that came second is due after two
    add(store, "ababab")
    assert order(store, loaded=["a"]) == "aabbba"


def test_a_job_that_comes_first_is_never_overtaken(store: JobStore) -> None:
    add(store, "baaa")

    assert order(store, loaded=["a"]).startswith("b")


@pytest.mark.parametrize("seed", range(8))
def test_no_job_waits_for_more_than_twice_the_jobs_that_were_before_it(store: JobStore, seed: int) -> None:
    rng = Random(seed)
    before: dict[str, int] = {}  # how many were queued when a job came
    came: dict[str, int] = {}  # and how many had been claimed
    waited: dict[str, int] = {}
    loaded = ["a"]
    while len(waited) < 150:
        for _ in range(min(rng.choice([0, 0, 1, 2, 3]), 150 - len(came))):
            queued, turn = len(came) - len(waited), len(waited)
            (new,) = add(store, rng.choice("abc"))
            before[new], came[new] = queued, turn
        if claim := store.claim("e", ClaimRequest("abc", loaded)):
            waited[claim[1].id] = len(waited) - came[claim[1].id]
            loaded = [claim[1].model]
            store.finish(claim[0], VIDEO)

    # jobs of three models may be due at once, and then wait for each other
    assert {job: waited[job] for job in waited if waited[job] > 2 * before[job] + 2} == {}


def test_a_group_of_models_needs_far_fewer_switches(store: JobStore) -> None:
    rng = Random(1)
    add(store, "".join(rng.choice("abc") for _ in range(200)))
    ran = order(store, loaded=[], room=1)

    assert sum(one != next_ for one, next_ in pairwise(ran)) < 20  # in order of arrival about 133


def test_seconds_bound_how_long_a_job_is_overtaken(tmp_path: Path) -> None:
    store = opened(tmp_path, overtake_seconds=0.05)
    add(store, "aaaaabaaaa")
    order(store, ["a"], models="a")  # nobody may run b here
    add(store, "aaaa")
    store.claim("e", ClaimRequest("ab", ["a"]))
    with sqlite3.connect(tmp_path / "jobs.sqlite") as db:
        db.execute("UPDATE jobs SET due = 1000")
    time.sleep(0.1)
    claim = store.claim("e", ClaimRequest("ab", ["a"]))

    assert claim is not None
    assert claim[1].model == "b"


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


def test_the_search_for_the_next_job_reads_indexes_only(store: JobStore) -> None:
    with store._db.read() as db:
        wanted = {"models": json.dumps(["a"]), "key_running": None}
        plan = db.execute(text(f"EXPLAIN QUERY PLAN {HEADS}"), wanted).all()
    steps = " ".join(row[-1] for row in plan)

    assert "jobs_queue (status=? AND model=?)" in steps
    assert "jobs_due (status=? AND model=? AND priority=?)" in steps
    assert not any(word in steps for word in ("FOR ORDER BY", "SCAN jobs", "SCAN head"))


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
    assert shared.remaining == 12.0  # two engines share what is before it
