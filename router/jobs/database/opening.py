"""Opening a job store by its file or its URL."""

import sqlite3
from pathlib import Path
from types import ModuleType

from sqlalchemy import Engine, NullPool, create_engine

from router.errors import BootError
from router.jobs.database.database import Database
from router.jobs.database.sqlite import SqliteDatabase


def open_database(store: Path | str, *, wait: bool = False) -> Database:
    """Open an SQLite file, or PostgreSQL by URL, and bring it up to date.

    With `wait` an outage of PostgreSQL is waited out, for as long as it takes. Raises `BootError` for a store that
    cannot be used.
    """
    return SqliteDatabase(store) if isinstance(store, Path) else _shared(store, wait)


def bare_engine(store: Path | str) -> Engine:
    """Return an engine of a store as it is: nothing is created or migrated."""
    if isinstance(store, Path):
        existing = f"{store.absolute().as_uri()}?mode=rw"
        return create_engine("sqlite://", creator=lambda: sqlite3.connect(existing, uri=True), poolclass=NullPool)
    return _postgresql().bare_engine(store)  # type: ignore[no-any-return]


def _shared(store: str, wait: bool) -> Database:
    database: Database = _postgresql().PostgresDatabase(store, wait=wait)
    return database


def _postgresql() -> ModuleType:
    try:
        from router.jobs.database import postgresql
    except ModuleNotFoundError as error:
        raise BootError("a store in PostgreSQL needs its driver: pip install 'framegate[postgres]'") from error
    return postgresql


def open_if_there(store: Path | str) -> Database | None:
    """Open a job store; return None for a file that is missing."""
    return None if isinstance(store, Path) and not store.exists() else open_database(store)
