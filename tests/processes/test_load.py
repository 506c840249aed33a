"""The load bench at small size: its counts, and its audit of wrong books."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.figures.load import LEAVE_SECONDS, Run, drive
from bench.tools.audit import audit, rows
from bench.tools.callers import MODELS, Kind, jobs_in, plan
from bench.tools.server import serve

pytestmark = pytest.mark.slow

JOBS, CLIENTS, EARLY = 120, 8, 40
Damage = Callable[[Path, sqlite3.Connection], object]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """Return a run and a copy of its data folder."""
    kept = tmp_path_factory.mktemp("load") / "data"
    with serve(MODELS, leave_seconds=LEAVE_SECONDS) as server:
        run = drive(server, JOBS, CLIENTS, EARLY)
        shutil.copytree(server.data, kept)
    return run, kept


@pytest.fixture
def data(ran: tuple[Run, Path], tmp_path: Path) -> Path:
    """Return a copy for the test to damage."""
    return shutil.copytree(ran[1], tmp_path / "data")


def test_nothing_is_lost_doubled_or_misplaced(ran: tuple[Run, Path]) -> None:
    run, kept = ran

    assert run.audit.problems == ()
    assert sum(run.statuses.values()) == len(rows(kept)) == JOBS
    assert run.statuses.keys() <= {"completed", "cancelled"}
    assert {result.call.kind for result in run.results} == set(Kind)


def test_both_halves_are_measured(ran: tuple[Run, Path]) -> None:
    run, _ = ran

    assert all(early > 0 and end > 0 for early, end in run.memory.values())
    assert run.memory.keys() == {"web", "engine"}


def test_a_plan_is_the_same_each_time_and_makes_as_many_jobs_as_it_says() -> None:
    calls = plan(2000)

    assert calls == plan(2000)
    assert jobs_in(calls) == 2000
    kinds = [call.kind for call in calls]
    assert [kinds.count(kind) for kind in (Kind.CANCEL, Kind.MISMATCH)] == [100, 100]
    assert kinds.count(Kind.LEAVE) + kinds.count(Kind.LEAVE_STREAM) == 100


DAMAGES: dict[str, tuple[str, Damage]] = {
    "a row is gone": ("lost", lambda data, db: db.execute("DELETE FROM jobs WHERE status = 'cancelled'")),
    "a job never ends": ("lost", lambda data, db: db.execute("UPDATE jobs SET status = 'queued' WHERE seq = 5")),
    "a job failed": ("contradicted", lambda data, db: db.execute("UPDATE jobs SET status = 'failed' WHERE seq = 5")),
    "a call has two jobs": ("doubled", lambda data, db: _double(db)),
    "a mismatch has a job": ("contradicted", lambda data, db: _relabel(db)),
    "a video is gone": ("misplaced", lambda data, db: _video(data).unlink()),
    "a video is another": ("misplaced", lambda data, db: [path.write_bytes(b"") for path in data.glob("videos/*/*")]),
    "an attempt left a file": ("misplaced", lambda data, db: (_video(data).parent / "7.part.mp4").touch()),
    "a folder has no job": ("misplaced", lambda data, db: (data / "inputs" / ("f" * 32)).mkdir()),
    "a preview is left": ("misplaced", lambda data, db: (data / "previews" / f"{'f' * 32}.jpg").touch()),
}


@pytest.mark.parametrize(("found_as", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_the_audit_sees(ran: tuple[Run, Path], data: Path, found_as: str, damage: Damage) -> None:
    (data / "previews").mkdir(exist_ok=True)
    with sqlite3.connect(data / "jobs.sqlite") as db:
        damage(data, db)

    assert getattr(audit(data, ran[0].results), found_as)


def test_the_audit_sees_what_a_caller_was_told_wrongly(ran: tuple[Run, Path]) -> None:
    run, kept = ran
    results = [replace(one, status="cancelled") if one.call.kind is Kind.POLL else one for one in run.results]
    strayed = [replace(one, jobs=frozenset({"0" * 32})) if one.call.kind is Kind.POLL else one for one in run.results]

    assert audit(kept, results).contradicted
    assert audit(kept, strayed).lost


def _video(data: Path) -> Path:
    return next(data.glob("videos/*/*.mp4"))


def _double(db: sqlite3.Connection) -> None:
    """Give the first job the second job's call."""
    (form,) = db.execute("SELECT form FROM jobs WHERE seq = 2").fetchone()
    db.execute("UPDATE jobs SET form = ? WHERE seq = 1", [form])


def _relabel(db: sqlite3.Connection) -> None:
    mismatch = next(call.number for call in plan(JOBS) if call.kind is Kind.MISMATCH)
    db.execute("UPDATE jobs SET form = ? WHERE seq = 1", [json.dumps({"metadata": {"call": str(mismatch)}})])
