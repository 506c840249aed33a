"""A live store moved to another database."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from router.errors import BootError, reason
from router.jobs.database import Database, open_database, open_if_there
from router.jobs.database.retired_store import reopen, retire
from router.jobs.database.sqlite import SqliteDatabase
from router.jobs.facts import LINKS_SECRET
from router.jobs.store_copy import copy_store, filled_tables, require_empty
from router.jobs.tables import facts
from router.runtime.files import write_file


def move_store(source: Path | str, target: Path | str, *, keep: bool = False) -> Mapping[str, int]:
    """Move a store to an empty one; return the numbers of rows by table.

    With `keep` it is only copied. Else nothing is accepted into the source once the copy begins. After an error the
    source is in use as before, and the target empty; or whole, if the answer to the last commit was lost. Raises
    `BootError`.
    """
    old = open_if_there(source)
    if old is None:
        raise BootError(f"there is no job store {source}")
    with closing(old):
        _require_rows(old)
        new = open_database(target)
        with closing(new):
            try:
                with new.read() as db:
                    require_empty(db, new.name)
                return _copy(old, new, keep) if keep else _move(source, old, new)
            except SQLAlchemyError as error:
                raise BootError(f"{old.name} cannot be copied to {new.name}: {reason(error)}") from error


def _require_rows(source: Database) -> None:
    with source.read() as rows:
        if not filled_tables(rows):
            raise BootError(f"{source.name} is empty: there is nothing to move")


def _move(store: Path | str, old: Database, new: Database) -> Mapping[str, int]:
    retire(old, new.name)
    try:
        return _copy(old, new, keep=False)
    except BaseException:
        reopen(store)
        raise


def _copy(old: Database, new: Database, keep: bool) -> Mapping[str, int]:
    with old.snapshot() as rows, new.write() as db:
        counts = copy_store(old, rows, new, db)
        _take_secret(old, db)
        if isinstance(new, SqliteDatabase) and not keep:
            _put_secret(new, db)
        return counts


def _take_secret(old: Database, db: Connection) -> None:
    """Keep the secret of an SQLite store's links as a fact."""
    # so that they stay valid; a copy of a shared store has the fact itself
    file = old.path.with_name(LINKS_SECRET) if isinstance(old, SqliteDatabase) else None
    if file is not None and file.exists() and _known_secret(db) is None:
        db.execute(insert(facts).values(name=LINKS_SECRET, value=file.read_bytes().hex()))


def _put_secret(new: SqliteDatabase, db: Connection) -> None:
    """Put the secret where the server of an SQLite store looks for it."""
    if (known := _known_secret(db)) is not None:
        write_file(new.path.with_name(LINKS_SECRET), bytes.fromhex(known), root=new.path.parent)
        db.execute(delete(facts).where(facts.c.name == LINKS_SECRET))


def _known_secret(db: Connection) -> str | None:
    return db.scalar(select(facts.c.value).where(facts.c.name == LINKS_SECRET))
