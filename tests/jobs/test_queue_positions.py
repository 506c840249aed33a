"""Queue positions and remaining times, checked against their definition."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sqlalchemy import Engine, event

from registry import Input
from router.jobs import EngineStore, JobStore, open_database
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


def stored(folder: Path) -> tuple[JobStore, EngineStore]:
    database = open_database(folder / "j.sqlite")
    return JobStore(database, lease_seconds=30, max_attempts=2, max_queued=10**6), EngineStore(
        database, lease_seconds=30
    )


def engine_of(rows: Rows, seq: int) -> str | None:
    """Return the engine of a running job; that of a second one is lost."""
    if rows[seq - 1][0] != "in_progress":
        return None
    first = next(n for n, row in enumerate(rows, 1) if row[0] == "in_progress" and n % 3 == seq % 3)
    return f"e{seq % 3}" if seq == first else "gone"


def fill(path: Path, rows: Rows) -> None:
    """Have exactly these jobs in the store."""
    columns = (
        "seq, id, owner, model, status, attempt, lost, version, request_id, created_at, task, inputs, form, warnings"
    )
    task = json.dumps({"prompt": "a", "negative_prompt": "", "width": 64, "height": 64, "num_frames": 5,
                       "frames_per_second": 8, "steps": 4, "guidance_scale": 4.0, "guidance_scale_2": None,
                       "flow_shift": 3.0, "seed": 1, "given": ["text"]})  # fmt: skip
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM jobs")
        for seq, (status, priority, estimate, left, owner, due_at) in enumerate(rows, 1):
            progress = {"phase": "step", "done": 1, "total": 2, "percent": 1, "remaining": left}
            db.execute(
                f"INSERT INTO jobs ({columns}, priority, estimate, due_at, engine, progress) VALUES ({', '.join('?' * 19)})",
                (seq, f"{seq:032x}", owner, "m", status, 0, 0, seq, "", 0.0, task, "[]", "{}", "[]", priority, estimate, due_at, engine_of(rows, seq),
                 json.dumps(progress) if status == "in_progress" else None),
            )  # fmt: skip


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
    tmp_path: Path, rows: Any, engines: int, newest_first: bool, owner: str | None
) -> None:
    jobs, fleet = stored(tmp_path)
    fill(tmp_path / "j.sqlite", rows)
    for n in range(3):
        fleet.heartbeat(EngineState(f"e{n}", "cpu", 1, ("m",), ()))
        if n >= engines:
            fleet.retire(f"e{n}")
    page = jobs.page(owner, after=None, limit=100, newest_first=newest_first)

    assert page is not None
    assert [int(job.id, 16) for job in page] == sorted(
        (n for n, row in enumerate(rows, 1) if owner in (None, row[4])), reverse=newest_first
    )
    for job in page:
        alone = jobs.get(job.id, owner)
        assert alone is not None
        if job.status is Status.QUEUED:
            expected = defined(rows, int(job.id, 16), engines)
            assert (job.ahead, job.remaining) == expected
            assert (alone.ahead, alone.remaining) == expected
        else:
            assert job == alone


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what is asked of any store while the block runs."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("queued", [1, 100, 1000])
def test_a_page_takes_as_many_statements_whatever_is_queued(tmp_path: Path, queued: int) -> None:
    jobs, _ = stored(tmp_path)
    fill(tmp_path / "j.sqlite", [("queued", n % 3, 2.5, None, "me", 0) for n in range(queued)])
    with statements() as first:
        jobs.page("me", after=None, limit=101, newest_first=True)
    with statements() as next_one:
        jobs.page("me", after=f"{queued:032x}", limit=101, newest_first=True)
    with statements() as single:
        jobs.get(f"{queued:032x}", "me")

    assert len(first) == 7  # one of them asks whether there are any budgets
    assert len(next_one) <= 4
    assert len(single) == 3
