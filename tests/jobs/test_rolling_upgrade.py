"""Processes of two versions on one store, while one after the other is upgraded."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from registry import Input
from router.errors import BootError
from router.jobs import ClaimRequest, Database, EngineStore, JobStore, open_database
from router.jobs.database import upgrade
from router.jobs.tables import HEAD
from router.values import Artifact, EngineState, Job, Status, Task

LATER = "9999"
TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Return a store of this version."""
    found = tmp_path / "jobs.sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    open_database(found).close()
    return found


@pytest.fixture
def running(store: Path | str) -> Iterator[Database]:
    """Return the database of a process that began before the migration."""
    database = open_database(store)
    yield database
    database.close()


def migrate(database: Database, least: str | None = None) -> None:
    """Do what a later migration may do: add nullable columns and tables."""
    with database.write() as db:
        db.execute(text("ALTER TABLE jobs ADD COLUMN later TEXT"))
        db.execute(text("ALTER TABLE engines ADD COLUMN later INTEGER NOT NULL DEFAULT 7"))
        db.execute(text("CREATE TABLE later (n INTEGER PRIMARY KEY)"))
        db.execute(text("CREATE INDEX later_jobs ON jobs (later)"))
        db.execute(text("UPDATE alembic_version SET version_num = :later"), {"later": LATER})
        if least is not None:
            db.execute(text("UPDATE facts SET value = :least WHERE name = 'least_revision'"), {"least": least})


def run_job(database: Database, number: int) -> Job | None:
    """Run a job from its arrival to its end, as both halves do."""
    queue = JobStore(database, lease_seconds=30, max_attempts=2, max_queued=9)
    EngineStore(database, lease_seconds=30).heartbeat(EngineState("e", "cpu", 1, ("m",), (), None))
    queue.add(Job(f"{number:032}", "anna", "m", TASK))
    claimed = queue.claim("e", ClaimRequest(["m"]))
    assert claimed is not None
    assert queue.renew(claimed[0])
    with database.write() as db:  # a process of the later version
        db.execute(text("UPDATE jobs SET later = 'kept'"))
    return queue.finish(claimed[0], VIDEO)


def test_processes_of_this_version_run_jobs_on_a_later_store(store: Path | str, running: Database) -> None:
    migrate(running)

    for number, database in enumerate([running, open_database(store)]):
        with closing(database):
            ended = run_job(database, number)
            assert ended is not None
            assert ended.status == Status.COMPLETED
            with database.read() as db:
                assert set(db.scalars(text("SELECT later FROM jobs"))) == {"kept"}
                assert set(db.scalars(text("SELECT later FROM engines"))) == {7}
                assert db.scalar(text("SELECT version_num FROM alembic_version")) == LATER


def test_a_store_that_this_version_cannot_use_is_refused(store: Path | str, running: Database) -> None:
    migrate(running, least=LATER)
    said = rf"is of a newer Framegate \(revision {LATER}, this one knows {HEAD}\): use that one, or another store"

    with pytest.raises(BootError, match=said):
        open_database(store)


def test_what_the_version_before_writes_is_accepted_after_the_migration(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with create_engine(f"sqlite:///{path}").begin() as db:
        upgrade(db, "0012")
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode=WAL")
        statements = [_insert(old, table) for table in ("jobs", "changes", "engines", "attempts", "ledger", "keys")]
        for number, (statement, width) in enumerate(statements):
            old.execute(statement, [1000 + number] * width)
        open_database(path).close()
        assert old.execute("SELECT version_num FROM alembic_version").fetchone() == (HEAD,)
        for number, (statement, width) in enumerate(statements):
            old.execute(statement, [2000 + number] * width)
        assert old.execute("SELECT count(*), max(lock_domain) FROM engines").fetchone() == (2, "")


def _insert(db: sqlite3.Connection, table: str) -> tuple[str, int]:
    """Return an insertion into all columns that a table has now, and their number."""
    names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", len(names)
