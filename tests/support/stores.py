"""Fresh job stores in both kinds of database, and SQL for tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from router.jobs.database import Database, Instant, open_database
from support.pgbouncer import PgBouncer
from support.postgresql import Postgres

KINDS = ("sqlite", "postgresql")
EVERYWHERE = pytest.mark.parametrize("store_address", [*KINDS, "pgbouncer"], indirect=True)
ON_SQLITE = pytest.mark.parametrize("store_address", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("store_address", ["postgresql"], indirect=True)
# begins of transactions, and PostgreSQL's clock
NOT_COUNTED = ("BEGIN", "PRAGMA", "NOTIFY", "SELECT set_config", "SELECT extract(epoch")


@pytest.fixture(scope="session")
def postgres_store(postgres: Postgres) -> str:
    """Return the name of a database without jobs, a template of others."""
    open_database(postgres.create("new_store")).close()
    return "new_store"


@pytest.fixture(params=KINDS)
def store_address(request: pytest.FixtureRequest, tmp_path: Path, new_store: bytes) -> Iterator[Path | str]:
    """Return the file or URL of a fresh store, in each kind of database."""
    if request.param == "sqlite":
        path = tmp_path / "jobs.sqlite"
        path.write_bytes(new_store)
        yield path
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with postgres.fresh(request.getfixturevalue("postgres_store")) as url:
        if request.param == "pgbouncer":
            bouncer: PgBouncer = request.getfixturevalue("pgbouncer")
            bouncer.start()
            url = bouncer.url(url.rpartition("/")[2])
        yield url


@pytest.fixture
def open_store(store_address: Path | str) -> Iterator[Callable[[], Database]]:
    """Return a function that opens the fresh store once more, as another process would."""
    opened: list[Database] = []

    def open_it() -> Database:
        opened.append(open_database(store_address))
        return opened[-1]

    yield open_it
    for database in opened:
        database.close()


@pytest.fixture
def database(open_store: Callable[[], Database]) -> Database:
    """Return a fresh store, opened."""
    return open_store()


def rows(database: Database, query: str, **values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with database.read() as db:
        return [tuple(row) for row in db.execute(text(query), values)]


def change(database: Database, statement: str, **values: Any) -> None:
    """Execute a statement in a transaction of its own."""
    with database.write() as db:
        db.execute(text(statement), values)


def instant(database: Database) -> Instant:
    """Return the time of leases."""
    with database.read() as db:
        return database.instant(db)


@contextmanager
def statements(only: str | None = None) -> Iterator[list[str]]:
    """Collect the statements of all stores, or those like `only`, in the block."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement == only if only is not None else not statement.lstrip().startswith(NOT_COUNTED):
            asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)
