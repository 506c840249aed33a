"""The job store: leases, attempts, the queue, and what the watcher is told."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from registry import Input
from router.errors import BootError, QueueFull
from router.jobs import ClaimRequest, EngineStore, JobFilter, JobStore, open_database
from router.jobs import statements as sql
from router.jobs.database import upgrade
from router.jobs.rows import job_row
from router.jobs.tables import HEAD, metadata
from router.values import (
    Artifact,
    EngineState,
    Failure,
    Job,
    Lease,
    OutputPart,
    Phase,
    Presentation,
    Progress,
    Status,
    Task,
)

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return opened(tmp_path)


def opened(folder: Path, lease_seconds: float = 30, max_attempts: int = 2) -> JobStore:
    database = open_database(folder / "jobs.sqlite")
    return JobStore(database, lease_seconds=lease_seconds, max_attempts=max_attempts, max_queued=1000)


def engines_in(folder: Path) -> EngineStore:
    return EngineStore(open_database(folder / "jobs.sqlite"), lease_seconds=30)


def job(n: int = 1, model: str = "m", owner: str = "me") -> Job:
    return Job(f"{n:032x}", owner, model, TASK, created_at=time.time())


def claimed(store: JobStore, engine: str = "e") -> Lease:
    found = store.claim(engine, ClaimRequest(["m"]))
    assert found is not None
    return found[0]


def test_a_job_comes_back_as_it_was_added(store: JobStore) -> None:
    asked = replace(job(), presentation=Presentation(part=OutputPart.TEXT), warnings=("é",), request_id="r")
    added = store.add(asked)

    assert store.get(asked.id, "me") == replace(asked, version=added.version, ahead=0)


def test_another_owner_sees_nothing(store: JobStore) -> None:
    made = store.add(job())

    assert store.get(made.id, "you") is None
    assert store.cancel(made.id, "you") is None
    assert store.delete(made.id, "you") is None


def test_the_oldest_job_is_claimed_first_and_once(store: JobStore) -> None:
    for n in (1, 2):
        store.add(job(n))
    claims = [store.claim("e", ClaimRequest(["m"])) for _ in range(3)]

    assert [claim and claim[1].id for claim in claims] == [job(1).id, job(2).id, None]


def test_only_models_that_the_engine_runs_are_claimed(store: JobStore) -> None:
    store.add(job(model="other"))

    assert store.claim("e", ClaimRequest(["m"])) is None
    assert store.claim("e", ClaimRequest(["m", "other"])) is not None


def test_jobs_ahead_are_counted_while_a_job_waits(store: JobStore) -> None:
    for n in (1, 2, 3):
        store.add(job(n))
    store.claim("e", ClaimRequest(["m"]))

    assert [getattr(store.get(job(n).id, "me"), "ahead", None) for n in (1, 2, 3)] == [None, 0, 1]


def test_an_expired_lease_makes_the_job_claimable_and_the_old_engine_powerless(tmp_path: Path) -> None:
    store = opened(tmp_path, lease_seconds=0.05)
    made = store.add(job())
    old = claimed(store, "old")
    time.sleep(0.1)
    store.expire()
    new = claimed(store, "new")

    assert (old.attempt, new.attempt) == (1, 2)
    assert store.renew(old) is store.holds(old) is store.report(old, Progress(Phase.STEP, 1, 4, 20)) is False
    assert store.finish(old, VIDEO) is store.fail(old, Failure("x", "y")) is None
    assert store.finish(new, VIDEO) is not None
    assert getattr(store.get(made.id, "me"), "status", None) is Status.COMPLETED


def test_a_renewed_lease_does_not_expire(tmp_path: Path) -> None:
    store = opened(tmp_path, lease_seconds=2)
    store.add(job())
    lease = claimed(store)
    for _ in range(3):
        time.sleep(0.8)
        assert store.renew(lease)
        store.expire()

    assert store.holds(lease)


def test_a_job_that_lost_every_engine_fails_with_engine_lost(tmp_path: Path) -> None:
    store = opened(tmp_path, lease_seconds=0.01)
    made = store.add(job())
    for _ in range(2):
        claimed(store)
        time.sleep(0.03)
        failed = store.expire()

    assert [lost.failure and lost.failure.code for lost in failed] == ["engine_lost"]  # and told to the listeners
    assert getattr(store.get(made.id, "me"), "status", None) is Status.FAILED


def test_a_lease_of_an_earlier_boot_has_expired(store: JobStore, tmp_path: Path) -> None:
    store.add(job())
    lease = claimed(store)
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        database.execute("UPDATE jobs SET lease_boot = 'another'")
    store.expire()

    assert not store.holds(lease)


def test_a_released_job_has_lost_no_engine(tmp_path: Path) -> None:
    store = opened(tmp_path, lease_seconds=0.01, max_attempts=1)
    store.add(job())
    for attempt in (1, 2, 3):
        lease = claimed(store)
        assert lease.attempt == attempt  # and no attempt ever writes another one's file
        assert store.release(lease) is not None


def test_a_new_engine_of_a_device_inherits_what_the_old_one_left(store: JobStore, tmp_path: Path) -> None:
    store.add(job())
    engines_in(tmp_path).heartbeat(EngineState("old", "cpu", 1, ("m",), ()))
    lease = claimed(store, "old")
    store.inherit("cpu")
    store.expire()

    assert not store.holds(lease)
    assert claimed(store, "new").attempt == 2


@pytest.mark.parametrize(
    ("hung", "code", "said"),
    [
        (Phase.STEP, "timed_out", "the engine hung in phase step of this job and was replaced; engines lost so: 2,"),
        (None, "engine_lost", "the engine was lost while it ran this job; engines lost so: 2,"),
    ],
)
def test_the_last_failure_says_whether_the_engine_hung(
    store: JobStore, tmp_path: Path, hung: Phase | None, code: str, said: str
) -> None:
    store.add(job())
    engines_in(tmp_path).heartbeat(EngineState("old", "cpu", 1, ("m",), ()))
    told = []
    for _ in range(2):
        claimed(store, "old")
        told += store.inherit("cpu", hung)

    assert [left.status for left in told] == [Status.QUEUED, Status.FAILED]
    assert told[1].failure is not None
    assert told[1].failure.code == code
    assert told[1].failure.message.startswith(said)
    assert store.inherit("cpu", hung) == ()


def test_jobs_of_a_model_that_is_gone_fail(store: JobStore) -> None:
    made, other = store.add(job(1, model="gone")), store.add(job(2))
    (failed,) = store.strand(["m"])

    assert (failed.id, failed.status) == (made.id, Status.FAILED)
    assert getattr(store.get(other.id, "me"), "status", None) is Status.QUEUED


@pytest.mark.parametrize("wrong", ["a file", "a folder", "no database"])
def test_a_store_that_cannot_be_opened_stops_the_boot_and_says_why(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "data" / "jobs.sqlite"
    if wrong == "a file":
        path.parent.write_text("")
    elif wrong == "a folder":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        path.write_text("this is no database, " * 1000)

    with pytest.raises(BootError, match=f"the job store {path} cannot be opened: ."):
        open_database(path)


def test_cancel_and_delete_take_the_lease_away(store: JobStore) -> None:
    for n, end in enumerate((store.cancel, store.delete)):
        made = store.add(job(n))
        lease = claimed(store)
        assert end(made.id, "me") is not None
        assert not store.holds(lease)
        assert store.finish(lease, VIDEO) is None


def test_a_finished_job_cannot_be_cancelled(store: JobStore) -> None:
    made = store.add(job())
    store.finish(claimed(store), VIDEO, ("cut",))

    assert store.cancel(made.id, "me") is None
    found = store.get(made.id, "me")
    assert found is not None
    assert (found.artifact, found.warnings) == (VIDEO, ("cut",))


def test_every_change_is_told_once_also_a_deletion(store: JobStore) -> None:
    since = store.newest()
    made = store.add(job())
    added, told = store.changes(since)
    assert told == {made.id}
    assert store.changes(added) == (added, frozenset())
    store.delete(made.id, "me")

    assert store.changes(added)[1] == {made.id}


def walked(store: JobStore, *, newest_first: bool, limit: int, meanwhile: Callable[[list[str]], None]) -> list[str]:
    """Return every id of all pages; `meanwhile` is called between two pages."""
    seen: list[str] = []
    while page := store.page("me", after=seen[-1] if seen else None, limit=limit, newest_first=newest_first):
        seen.extend(found.id for found in page)
        meanwhile(seen)
    return seen


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_a_walk_through_pages_sees_each_job_once_in_order(store: JobStore, limit: int, newest_first: bool) -> None:
    made = [store.add(replace(job(n), created_at=1.0)).id for n in range(20)]
    store.add(job(99, owner="you"))
    seen = walked(store, newest_first=newest_first, limit=limit, meanwhile=lambda seen: None)

    assert seen == (made[::-1] if newest_first else made)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_a_walk_sees_what_was_there_throughout_whatever_comes_and_goes(
    store: JobStore, seed: int, newest_first: bool
) -> None:
    dice = Random(seed)
    there = [store.add(replace(job(n), created_at=1.0)).id for n in range(25)]
    every, gone = list(there), set[str]()

    def meanwhile(seen: list[str]) -> None:
        if len(every) < 60:
            every.append(store.add(job(1000 + len(every))).id)
        for which in {seen[-1], dice.choice(every)} if dice.random() < 0.7 else set():
            gone.add(which)
            store.delete(which, "me")

    seen = walked(store, newest_first=newest_first, limit=dice.randint(1, 6), meanwhile=meanwhile)

    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen, key=every.index, reverse=newest_first)
    assert set(there) - gone <= set(seen)


def test_whoever_deletes_page_by_page_comes_to_the_end(store: JobStore) -> None:
    for n in range(10):
        store.add(job(n))
    seen = walked(store, newest_first=True, limit=3, meanwhile=lambda seen: [store.delete(one, "me") for one in seen])

    assert len(seen) == 10
    assert store.page("me", after=None, limit=100, newest_first=True) == ()


def test_a_page_after_what_was_never_there_or_is_not_mine_is_none(store: JobStore) -> None:
    others = store.add(job(1, owner="you"))

    for unknown in ("", "x", job(9).id, others.id):
        assert store.page("me", after=unknown, limit=5, newest_first=True) is None


def test_jobs_of_a_page_know_their_place_in_the_queue(store: JobStore) -> None:
    for n in range(4):
        store.add(job(n))
    claimed(store)
    page = store.page("me", after=None, limit=9, newest_first=False)

    assert [found.ahead for found in page or ()] == [None, 0, 1, 2]


def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    made, gone = job(1), job(2)
    first_version(tmp_path / "jobs.sqlite", made, gone)
    store = opened(tmp_path)
    store.delete(gone.id, "me")

    assert store.get(made.id, "me") == replace(made, version=1, ahead=0)
    assert [found.id for found in store.page("me", after=gone.id, limit=5, newest_first=True) or ()] == [made.id]


def test_jobs_queued_before_an_upgrade_go_first_in_their_order(tmp_path: Path) -> None:
    first_version(tmp_path / "jobs.sqlite", job(1), job(2))
    store = opened(tmp_path)
    store.add(job(3))

    assert [claimed(store).job for _ in range(3)] == [job(n).id for n in (1, 2, 3)]


def test_jobs_from_before_an_upgrade_are_found_by_their_prompts(tmp_path: Path) -> None:
    first_version(tmp_path / "jobs.sqlite", job(1), replace(job(2), task=replace(job(2).task, prompt="A Red Ball")))
    store = opened(tmp_path)
    found = store.page("me", after=None, limit=5, newest_first=True, shown=JobFilter(words=("red", "Ball")))

    assert [one.id for one in found or ()] == [job(2).id]


def test_a_damaged_task_from_before_an_upgrade_is_found_by_no_word(tmp_path: Path) -> None:
    damaged = ("{", "[]", '{"prompt": null}', "null", "", "[" * 100_000, b"\xff\xfe")
    first_version(tmp_path / "jobs.sqlite", *map(job, range(len(damaged) + 1)))
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as database, database:
        database.executemany("UPDATE jobs SET task = ? WHERE seq = ?", [(task, n) for n, task in enumerate(damaged, 1)])
    store = opened(tmp_path)
    found = store.page("me", after=None, limit=50, newest_first=True, shown=JobFilter(words=(job().task.prompt,)))

    assert [one.id for one in found or ()] == [job(len(damaged)).id]


def test_a_page_by_state_and_model_reads_the_rows_of_its_jobs_alone(tmp_path: Path) -> None:
    opened(tmp_path)
    shown = JobFilter(frozenset({"m"}), frozenset({Status.FAILED}))
    with create_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}").connect() as database:
        statement = sql.page("me", True, shown).limit(1).params(_seq=1)
        written = statement.compile(database, compile_kwargs={"literal_binds": True})
        (plan,) = database.exec_driver_sql(f"EXPLAIN QUERY PLAN {written}").all()
        columns = database.exec_driver_sql("PRAGMA index_info(jobs_owner)").all()

    assert "USING INDEX jobs_owner" in plan[-1]
    assert [name for _, _, name in columns] == ["owner", "seq", "status", "model"]  # the filter's are in the index


def first_version(path: Path, *there: Job) -> None:
    """Make a store as the first migration leaves it, with some jobs."""
    from sqlalchemy import MetaData, Table

    with create_engine(f"sqlite:///{path}").begin() as database:
        upgrade(database, "0001")
        table = Table("jobs", MetaData(), autoload_with=database)
        for n, one in enumerate(there, 1):
            row = {name: value for name, value in job_row(one).items() if name in table.c}
            database.execute(table.insert().values(**row, version=n, lost=0))


def test_a_full_queue_refuses_without_writing(tmp_path: Path) -> None:
    store = JobStore(open_database(tmp_path / "j.sqlite"), lease_seconds=1, max_attempts=1, max_queued=1)
    store.add(job())
    before = store.newest()

    with pytest.raises(QueueFull, match="holds 1 jobs, its limit is 1"):
        store.check_limits()
    assert store.newest() == before


def test_an_engine_that_stops_in_good_order_looks_lost_at_once(tmp_path: Path) -> None:
    engines = engines_in(tmp_path)
    engines.heartbeat(EngineState("e", "cpu", 1, ("m",), ("m",), "j"))
    (before,) = engines.alive()
    engines.retire("e")

    assert (before.models, before.job, before.age < 5) == (("m",), "j", True)
    assert engines.alive() == ()
    assert [engine.age >= 30 for engine in engines.seen()] == [True]


def test_a_new_store_is_what_the_migrations_make(tmp_path: Path) -> None:
    open_database(tmp_path / "jobs.sqlite")
    migrated = create_engine(f"sqlite:///{tmp_path / 'migrated.sqlite'}")
    with migrated.begin() as connection:
        upgrade(connection)

    created = create_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    assert set(inspect(created).get_table_names()) == {*metadata.tables, "alembic_version"}
    for table in metadata.tables:
        for ask in ("get_columns", "get_pk_constraint"):
            assert repr(getattr(inspect(created), ask)(table)) == repr(getattr(inspect(migrated), ask)(table)), table
    # unique columns have an index, autoincrement a row in sqlite_sequence
    for query in (
        "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name",
        "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%' ORDER BY name",
        "SELECT version_num FROM alembic_version",
    ):
        assert rows(created, query) == rows(migrated, query), query
    newest = sorted(Path(__file__).parents[2].glob("router/jobs/migrations/versions/*.py"))[-1]
    assert newest.name.startswith(HEAD)


def rows(engine: Engine, query: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def _open(folder: Path) -> None:
    opened(folder).newest()


def _claim_all(folder: Path, engine: str, found: object) -> None:
    store = opened(folder)
    while claim := store.claim(engine, ClaimRequest(["m"])):
        store.finish(claim[0], VIDEO)
        found.put(claim[1].id)


@pytest.mark.slow
def test_many_processes_may_open_a_fresh_store_at_once(tmp_path: Path) -> None:
    spawn = get_context("spawn")
    openers = [spawn.Process(target=_open, args=[tmp_path]) for _ in range(4)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()

    assert [opener.exitcode for opener in openers] == [0] * 4


@pytest.mark.slow
def test_no_job_is_claimed_twice_by_processes_that_race(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for n in range(100):
        store.add(job(n))
    spawn = get_context("spawn")
    found = spawn.Queue()
    racers = [spawn.Process(target=_claim_all, args=[tmp_path, f"e{n}", found]) for n in range(3)]
    for racer in racers:
        racer.start()
    ids = [found.get(timeout=60) for _ in range(100)]
    for racer in racers:
        racer.join()

    assert len(set(ids)) == 100
