"""Queue positions and remaining times, checked against their definition."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from support.stores import statements

from registry import Input
from router.jobs import Database, EngineStore, JobStore
from router.jobs.tables import jobs
from router.values import EngineState, Status, Task

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
SECONDS = some.none() | some.floats(0.1, 100)
ROWS = some.lists(
    some.tuples(
        some.sampled_from(["queued", "queued", "queued", "in_progress", "completed"]),
        some.integers(-1, 1),  # priority
        SECONDS,  # estimate
        SECONDS,  # what the engine says is left
        some.sampled_from(["me", "you"]),
        some.sampled_from([0, 0, 1, 7]),  # due
    ),
    max_size=30,
)
Rows = list[tuple[str, int, float | None, float | None, str, float]]


def stored(database: Database) -> tuple[JobStore, EngineStore]:
    store = JobStore(database, lease_seconds=30, max_attempts=2, max_queued=10**6)
    return store, EngineStore(database, lease_seconds=30)


def engine_of(rows: Rows, seq: int) -> str | None:
    """Return the engine of a running job; that of a second one is lost."""
    if rows[seq - 1][0] != "in_progress":
        return None
    first = next(n for n, row in enumerate(rows, 1) if row[0] == "in_progress" and n % 3 == seq % 3)
    return f"e{seq % 3}" if seq == first else "gone"


def fill(database: Database, rows: Rows) -> None:
    """Have exactly these jobs in the store."""
    task = json.dumps({"prompt": "a", "negative_prompt": "", "width": 64, "height": 64, "num_frames": 5,
                       "frames_per_second": 8, "steps": 4, "guidance_scale": 4.0, "guidance_scale_2": None,
                       "flow_shift": 3.0, "seed": 1, "given": ["text"]})  # fmt: skip
    same = {"model": "m", "attempt": 0, "lost": 0, "request_id": "", "created_at": 0.0, "task": task, "inputs": "[]",
            "form": "{}", "warnings": "[]"}  # fmt: skip
    values = []
    for seq, (status, priority, estimate, left, owner, due_at) in enumerate(rows, 1):
        progress = json.dumps({"phase": "step", "done": 1, "total": 2, "percent": 1, "remaining": left})
        this = {"seq": seq, "id": f"{seq:032x}", "version": seq, "owner": owner, "status": status, "priority": priority}
        this |= {"estimate": estimate, "due_at": due_at, "engine": engine_of(rows, seq)}
        values.append({**same, **this, "progress": progress if status == "in_progress" else None})
    with database.write() as db:
        db.execute(jobs.delete())
        if values:
            db.execute(jobs.insert(), values)


def defined(rows: Rows, seq: int, engines: int) -> Any:
    """Return the jobs ahead of a queued job and its remaining seconds, by definition."""
    queued = sorted((-row[1], row[5], n, row[2]) for n, row in enumerate(rows, 1) if row[0] == "queued")
    known = [each for *_, each in queued if each is not None] or [
        row[2] for row in rows if row[0] == "in_progress" and row[2] is not None
    ]
    mean = sum(known) / len(known) if known else 10.0
    free = [0.0] * max(engines, 1)
    for n, (status, _, estimate, left, *_) in enumerate(rows, 1):
        if status == "in_progress" and (engine_of(rows, n) in [f"e{e}" for e in range(engines)] or not engines):
            free[n % 3 if engines else 0] += next(each for each in (left, estimate, mean) if each is not None)
    for ahead, (_, _, number, estimate) in enumerate(queued):
        first = free.index(min(free))
        free[first] += mean if estimate is None else estimate
        if number == seq:
            return ahead, None if estimate is None else pytest.approx(free[first])
    raise AssertionError(f"{seq} is not queued")


@given(rows=ROWS, engines=some.integers(0, 3), newest_first=some.booleans(), owner=some.sampled_from([None, "me"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_page_and_a_single_job_say_what_the_definition_says(
    database: Database, rows: Any, engines: int, newest_first: bool, owner: str | None
) -> None:
    store, fleet = stored(database)
    fill(database, rows)
    for n in range(3):
        fleet.heartbeat(EngineState(f"e{n}", "cpu", 1, ("m",), ()))
        if n >= engines:
            fleet.retire(f"e{n}")
    page = store.page(owner, after=None, limit=100, newest_first=newest_first)

    assert page is not None
    assert [int(job.id, 16) for job in page] == sorted(
        (n for n, row in enumerate(rows, 1) if owner in (None, row[4])), reverse=newest_first
    )
    for job in page:
        alone = store.get(job.id, owner)
        assert alone is not None
        if job.status is Status.QUEUED:
            expected = defined(rows, int(job.id, 16), engines)
            assert (job.ahead, job.remaining) == expected
            assert (alone.ahead, alone.remaining) == expected
        else:
            assert job == alone


@pytest.mark.parametrize("queued", [1, 100, 1000])
def test_a_page_takes_as_many_statements_whatever_is_queued(database: Database, queued: int) -> None:
    store, _ = stored(database)
    fill(database, [("queued", n % 3, 2.5, None, "me", 0) for n in range(queued)])
    with statements() as first:
        store.page("me", after=None, limit=101, newest_first=True)
    with statements() as next_one:
        store.page("me", after=f"{queued:032x}", limit=101, newest_first=True)
    with statements() as single:
        store.get(f"{queued:032x}", "me")

    assert len(first) == 7  # one of them asks whether there are any budgets
    assert len(next_one) <= 4
    assert len(single) == 3
