"""A store moved between SQLite and PostgreSQL, whole or not at all."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from support.postgresql import Postgres

from registry import Input
from router.auth.keys import Scope, new_key, new_text
from router.errors import BootError, is_unwritable, reason
from router.jobs import ApiKeyStore, ClaimRequest, Database, EngineStore, JobStore, Ledger, Probe, open_database
from router.jobs.database.retired_store import reopen, retire
from router.jobs.facts import LINKS_SECRET
from router.jobs.scheduling_clock import arrival, current
from router.jobs.store_move import move_store
from router.jobs.tables import HEAD, attempts, engines, facts, jobs, metadata
from router.values import Artifact, EngineState, Job, Lease, Outcome, Phase, Progress, Status, Task

Store = Path | str
TASK = Task("a\0b, $1 %s \\N \t\n ☃ 😀", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)
ALWAYS = ("0000-01-01", "9999-12-31")
ENGINE = "e"
BREAKING = {  # a target that refuses the last rows
    "sqlite": ("CREATE TRIGGER no BEFORE INSERT ON scheduling_clock BEGIN SELECT RAISE(ABORT, 'not today'); END",),
    "postgresql": (
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$",
        "CREATE TRIGGER no BEFORE INSERT ON scheduling_clock FOR EACH ROW EXECUTE FUNCTION no()",
    ),
}


@pytest.fixture
def urls(postgres: Postgres, postgres_url: str) -> Iterator[tuple[str, str]]:
    """Return the addresses of two fresh databases."""
    with postgres.fresh() as another:
        yield postgres_url, another


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite", "postgresql to postgresql"])
def stores(request: pytest.FixtureRequest, urls: tuple[str, str], tmp_path: Path) -> tuple[Store, Store]:
    """Return where the old store is and the new one will be."""
    first, second = urls
    (tmp_path / "old").mkdir()
    old, new = tmp_path / "old" / "jobs.sqlite", tmp_path / "new" / "jobs.sqlite"
    found: dict[str, tuple[Store, Store]] = {
        "sqlite to postgresql": (old, first),
        "postgresql to sqlite": (first, new),
        "postgresql to postgresql": (first, second),
    }
    return found[request.param]


def job(number: int) -> Job:
    return Job(f"{number:032}", "anna", "m", TASK, estimate=3.0, price=2.0)


def jobs_of(database: Database) -> JobStore:
    return JobStore(database, lease_seconds=30, max_attempts=2, max_queued=1000)


def claimed(store: JobStore) -> Lease:
    found = store.claim(ENGINE, ClaimRequest(["m"]))
    assert found is not None
    return found[0]


def fill(store: Store) -> None:
    """Leave jobs of every state, a deleted one, two keys and a secret."""
    with closing(open_database(store)) as database:
        queue = jobs_of(database)
        for number in range(1, 4):
            queue.add(job(number))
        queue.finish(claimed(queue), VIDEO)
        running = claimed(queue)
        EngineStore(database, lease_seconds=30).heartbeat(EngineState(ENGINE, "cpu", 1, ("m",), (), running.job))
        queue.report(running, Progress(Phase.STEP, 1, 4, 20))
        queue.add(job(4))
        queue.add(job(5))
        queue.delete(job(5).id, "anna")
        for name in ("ci", "laptop"):
            ApiKeyStore(database).add(new_key(new_text(), name, "anna", [Scope.READ]))
        with database.write() as db:
            reported = db.execute(select(attempts.c.reported_at)).scalar_one()
            db.execute(update(attempts).values(began=reported - 2.0))
            if isinstance(store, str):
                db.execute(insert(facts).values(name=LINKS_SECRET, value="00ff"))
            else:
                store.with_name(LINKS_SECRET).write_bytes(b"\x00\xff")


def rows(database: Database) -> dict[str, list[dict[str, object]]]:
    return {
        table.name: [dict(row) for row in database.rows(select(table).order_by(*table.primary_key))]
        for table in metadata.sorted_tables
        if table.name not in {"scheduling_clock", "engines", "facts"}
    }


def test_everything_is_there_and_a_running_job_is_queued_again(stores: tuple[Store, Store]) -> None:
    old, new = stores
    fill(old)
    with closing(open_database(old)) as database:
        before = rows(database)
    counts = move_store(old, new)

    with closing(open_database(new)) as database:
        after, queue = rows(database), jobs_of(database)
        assert (counts["jobs"], counts["api_keys"], counts["changes"]) == (4, 2, len(before["changes"]))
        running = job(2).id
        for here, there in zip(before["jobs"], after["jobs"], strict=True):
            if here["id"] == running:
                here |= {"status": "queued", "engine": None, "lease_boot": None, "lease_until": None, "progress": None}
            if isinstance(new, str):  # PostgreSQL's text has no NUL
                here["searched"] = str(here["searched"]).replace("\0", "\ufffd")
            assert there == here
        assert after["attempts"] == []
        assert [after[name] == before[name] for name in ("changes", "api_keys", "keys", "revisions")] == [True] * 4
        assert database.rows(select(engines)) == []
        lost = [row for row in Ledger(database).rows(*ALWAYS) if row.outcome == Outcome.LOST]
        assert [(row.attempts, row.used.gpu_seconds) for row in lost] == [(1, pytest.approx(2.0))]
        again = queue.claim("other", ClaimRequest(["m"]))
        assert again is not None
        assert (again[1].id, again[1].attempt) == (running, 2)  # `lost` is as before, above
        assert again[1].task.prompt == TASK.prompt


def test_numbers_go_on_after_the_last_of_the_old_store(stores: tuple[Store, Store]) -> None:
    old, new = stores
    fill(old)
    with closing(open_database(old)) as database:
        deleted = 5
        (newest,) = database.rows(select(jobs.c.seq).order_by(jobs.c.seq.desc()).limit(1))
        assert newest["seq"] == deleted - 1
        version = jobs_of(database).newest()
    move_store(old, new)

    with closing(open_database(new)) as database:
        queue = jobs_of(database)
        queue.add(job(6))
        added = ApiKeyStore(database).add(new_key(new_text(), "new", "anna", [Scope.READ]))
        assert database.rows(select(jobs.c.seq).where(jobs.c.id == job(6).id))[0]["seq"] == deleted + 1
        assert queue.newest() == version + 1
        assert added is not None
        assert added.number == 3


def test_the_order_of_the_queue_goes_on(stores: tuple[Store, Store]) -> None:
    old, new = stores
    fill(old)
    with closing(open_database(old)) as database, database.write() as db:
        before = arrival(db, database.instant(db))
    move_store(old, new)

    with closing(open_database(new)) as database:
        with database.read() as db:
            now = current(db, database.instant(db))
        assert before < now < before + 600
        jobs_of(database).add(job(6))
        arrived = [row["arrived_at"] for row in database.rows(select(jobs.c.arrived_at).order_by(jobs.c.seq))]
        assert arrived == sorted(arrived)
        with database.read() as db:  # and is stored: it is no other a moment later
            assert current(db, database.instant(db)) >= arrived[-1]


def test_the_secret_of_links_is_kept(stores: tuple[Store, Store]) -> None:
    old, new = stores
    fill(old)
    move_store(old, new)

    with closing(open_database(new)) as database:
        known = database.rows(select(facts.c.value).where(facts.c.name == LINKS_SECRET))
    if isinstance(new, str):
        assert [row["value"] for row in known] == ["00ff"]
    else:
        assert new.with_name(LINKS_SECRET).read_bytes() == b"\x00\xff"
        assert known == []


def test_the_old_store_takes_nothing_more(stores: tuple[Store, Store]) -> None:
    old, new = stores
    fill(old)
    with closing(open_database(old)) as database:
        queue, keys = jobs_of(database), ApiKeyStore(database)
        assert Probe(database).problem() is None
        move_store(old, new)
        name = str(new)
        for write in (
            lambda: queue.add(job(7)),
            lambda: claimed(queue),
            lambda: keys.add(new_key(new_text(), "late", "anna", [Scope.READ])),
            lambda: queue.delete(job(1).id, "anna"),
            lambda: EngineStore(database, lease_seconds=30).heartbeat(EngineState("x", "cpu", 1, (), (), None)),
        ):
            with pytest.raises(SQLAlchemyError) as refused:
                write()
            assert f"the store was moved to {name}" in reason(refused.value)
            if isinstance(old, Path):  # PostgreSQL's is that of a read-only server
                assert is_unwritable(refused.value)
        assert f"the store was moved to {name}" in (Probe(database).problem() or "")
        assert queue.get(job(1).id, "anna") is not None  # it can be read

    with pytest.raises(BootError, match=r"was moved to .*: use that one"):
        open_database(old)


def test_what_is_accepted_during_a_move_is_moved(stores: tuple[Store, Store]) -> None:
    old, new = stores
    fill(old)
    accepted, begun = list[str](), Barrier(3)

    def write(start: int) -> None:
        with closing(open_database(old)) as database:
            queue = JobStore(database, lease_seconds=30, max_attempts=2, max_queued=100_000)
            for number in range(start, start + 10_000):
                try:
                    queue.add(job(number))
                except SQLAlchemyError:
                    break
                accepted.append(job(number).id)
                if number == start:
                    begun.wait(30)

    writers = [Thread(target=write, args=(start,)) for start in (100_000, 200_000)]
    for writer in writers:
        writer.start()
    begun.wait(30)
    move_store(old, new)
    for writer in writers:
        writer.join(60)

    assert len(accepted) < 20_000  # the end of each was a refusal
    with closing(open_database(new)) as database:
        there = {row["id"] for row in database.rows(select(jobs.c.id))}
    assert set(accepted) <= there
    assert len(there) == len(accepted) + 4


def test_a_store_moves_through_pgbouncer_there_and_back(tmp_path: Path, pgbouncer_url: str) -> None:
    (tmp_path / "old").mkdir()
    old, new = tmp_path / "old" / "jobs.sqlite", tmp_path / "new" / "jobs.sqlite"
    fill(old)
    there, back = move_store(old, pgbouncer_url), move_store(pgbouncer_url, new)

    assert there["jobs"] == back["jobs"] == 4
    with closing(open_database(new)) as database:
        assert claimed(jobs_of(database)).job == job(2).id


def test_a_store_that_is_only_copied_stays_in_use(stores: tuple[Store, Store]) -> None:
    old, new = stores
    fill(old)
    move_store(old, new, keep=True)

    with closing(open_database(old)) as database:
        queue = jobs_of(database)
        queue.add(job(6))
        assert queue.counts()[("m", Status.IN_PROGRESS)] == 1
    with closing(open_database(new)) as database:
        assert sum(jobs_of(database).counts().values()) == 4


def test_a_target_that_is_not_empty_is_refused_and_nothing_changes(stores: tuple[Store, Store]) -> None:
    old, new = stores
    fill(old)
    with closing(open_database(new)) as database:
        jobs_of(database).add(job(9))
    with pytest.raises(
        BootError, match=r"the target must be empty, got .* with rows in changes, jobs, scheduling_clock"
    ):
        move_store(old, new)
    with pytest.raises(BootError, match="the target must be empty"):
        move_store(old, old)

    with closing(open_database(old)) as database:
        jobs_of(database).add(job(6))


def test_an_error_on_the_way_leaves_the_old_store_in_use_and_the_new_one_empty(stores: tuple[Store, Store]) -> None:
    old, new = stores
    fill(old)
    with closing(open_database(new)) as database, database.write() as db:
        for statement in BREAKING[db.dialect.name]:
            db.execute(text(statement))
    with pytest.raises(BootError, match=r"cannot be copied to .*not today"):
        move_store(old, new)

    with closing(open_database(old)) as database:
        jobs_of(database).add(job(6))
    with closing(open_database(new)) as database:
        assert {name for name, found in rows(database).items() if found} == set()
        assert database.rows(select(facts).where(facts.c.name == LINKS_SECRET)) == []


def test_a_store_without_rows_and_one_that_is_not_there_are_refused(tmp_path: Path, postgres_url: str) -> None:
    with pytest.raises(BootError, match=f"there is no job store {tmp_path / 'none.sqlite'}"):
        move_store(tmp_path / "none.sqlite", postgres_url)
    open_database(tmp_path / "empty.sqlite").close()
    with pytest.raises(BootError, match="is empty: there is nothing to move"):
        move_store(tmp_path / "empty.sqlite", postgres_url)

    assert not (tmp_path / "none.sqlite").exists()


def test_a_move_that_was_killed_can_begin_anew_after_a_reopening(stores: tuple[Store, Store]) -> None:
    old, new = stores
    fill(old)
    with closing(open_database(old)) as database:
        retire(database, "nowhere")
        with pytest.raises(BootError, match="was moved to nowhere"):
            move_store(old, new)
        reopen(old)
        jobs_of(database).add(job(6))
    with pytest.raises(BootError, match="was not moved"):
        reopen(old)

    assert move_store(old, new)["jobs"] == 5


def test_a_newer_store_is_not_copied_as_columns_of_it_would_be_left_out(tmp_path: Path, postgres_url: str) -> None:
    path = tmp_path / "jobs.sqlite"
    fill(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BootError, match=f"must be of revision {HEAD}, got 9999"):
        move_store(path, postgres_url)


def test_a_value_that_postgresql_cannot_hold_is_one_line(tmp_path: Path, postgres_url: str) -> None:
    path = tmp_path / "jobs.sqlite"
    fill(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE jobs SET attempt = 'many' WHERE seq = 3")
    with pytest.raises(BootError, match="cannot be copied to postgresql") as refused:
        move_store(path, postgres_url)

    assert "Traceback" not in refused.value.message
    with closing(sqlite3.connect(path)) as db, db:  # as before
        db.execute("UPDATE jobs SET attempt = 0 WHERE seq = 3")
    assert move_store(path, postgres_url)["jobs"] == 4
