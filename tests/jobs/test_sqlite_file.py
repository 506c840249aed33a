"""The SQLite file of a store: its boot, migrations, indexes."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from registry import Input
from router.errors import BootError
from router.jobs import ClaimRequest, JobFilter, JobStore, open_database
from router.jobs import statements as sql
from router.jobs.database import upgrade
from router.jobs.rows import job_row
from router.jobs.tables import HEAD, metadata
from router.values import Job, Status, Task

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))


def opened(folder: Path) -> JobStore:
    return JobStore(open_database(folder / "jobs.sqlite"), lease_seconds=30, max_attempts=2, max_queued=1000)


def job(n: int = 1) -> Job:
    return Job(f"{n:032x}", "me", "m", TASK, created_at=1.0)


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

    claims = [store.claim("e", ClaimRequest(["m"])) for _ in range(3)]
    assert [claim and claim[1].id for claim in claims] == [job(n).id for n in (1, 2, 3)]


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
