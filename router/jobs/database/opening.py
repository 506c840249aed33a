"""Opening a job store by its file or its URL."""

from pathlib import Path

from router.errors import BootError
from router.jobs.database.base import Database
from router.jobs.database.sqlite import SqliteDatabase


def open_database(store: Path | str, *, wait: bool = False) -> Database:
    """Open an SQLite file, or PostgreSQL by URL, and bring it up to date.

    With `wait` an outage of PostgreSQL is waited out, for as long as it takes. Raises `BootError` for a store that
    cannot be used.
    """
    if isinstance(store, Path):
        return SqliteDatabase(store)
    try:
        from router.jobs.database.postgresql import PostgresDatabase
    except ModuleNotFoundError as error:
        raise BootError("a store in PostgreSQL needs its driver: pip install 'framegate[postgres]'") from error
    return PostgresDatabase(store, wait=wait)


def open_if_there(store: Path | str) -> Database | None:
    """Open a job store; return None for a file that is missing."""
    return None if isinstance(store, Path) and not store.exists() else open_database(store)
