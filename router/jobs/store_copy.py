"""A copy of a store in an empty one of any kind."""

from typing import Any

from sqlalchemy import Connection, Select, Table, insert, select, update

from router.errors import BootError
from router.jobs import statements as sql
from router.jobs.accounts import attempts as accounts
from router.jobs.database import Database
from router.jobs.database.schema import revision_of
from router.jobs.database.sequences import continue_sequences
from router.jobs.scheduling_clock import current
from router.jobs.tables import HEAD, LEAST, MOVED, attempts, facts, jobs, metadata, scheduling_clock
from router.values import Status

BATCH = 1000  # rows
LOCAL = {"engines", "rates", "waiters", "scheduling_clock"}  # they mean something on the source's clock of leases only
COPIED = tuple(table for table in metadata.sorted_tables if table.name not in LOCAL)
OWN = facts.c.name.in_((LEAST, MOVED))  # facts of each store


def copy_store(source: Database, rows: Connection, target: Database, db: Connection) -> dict[str, int]:
    """Copy a snapshot in a write transaction; return the numbers of rows by table.

    Running jobs become queued ones, and their attempts are booked as lost. Raises `BootError` for a store of another
    revision, and for a target that is not empty.
    """
    for database, connection in ((source, rows), (target, db)):
        _require_this_revision(connection, database.name)
    require_empty(db, target.name)
    counts = {table.name: _copy_table(rows, target, db, table) for table in COPIED}
    continue_sequences(rows, db)
    now = target.instant(db)
    shift = current(rows, source.instant(rows)) - now.now
    db.execute(insert(scheduling_clock).values(boot=now.boot, shift=shift))
    _end_attempts(db)
    return counts


def require_empty(db: Connection, name: str) -> None:
    """Raise `BootError` for a store that has rows."""
    if found := filled_tables(db):
        raise BootError(f"the target must be empty, got {name} with rows in {', '.join(found)}")


def filled_tables(db: Connection) -> list[str]:
    """Return the names of the tables that have rows."""
    return [table.name for table in metadata.sorted_tables if db.execute(_rows(table).limit(1)).first() is not None]


def _rows(table: Table) -> Select[Any]:
    """Return the query of a table's rows, without a store's own facts."""
    return select(table).where(~OWN) if table is facts else select(table)


def _require_this_revision(connection: Connection, name: str) -> None:
    # of a newer one we would leave out what it has added
    if (revision := revision_of(connection)) != HEAD:
        raise BootError(f"{name} must be of revision {HEAD}, got {revision}: use the Framegate of that revision")


def _copy_table(rows: Connection, target: Database, db: Connection, table: Table) -> int:
    number = 0
    for batch in rows.execute(_rows(table), execution_options={"yield_per": BATCH}).partitions():
        target.load(db, table, batch)
        number += len(batch)
    return number


def _end_attempts(db: Connection) -> None:
    """Book the open attempts and requeue the running jobs."""
    # their engines do not know this store
    running = select(jobs.c.id, jobs.c.attempt).where(jobs.c.status == Status.IN_PROGRESS)
    held = {(job, attempt) for job, attempt in db.execute(running)}
    for job, attempt in db.execute(select(attempts.c.job, attempts.c.attempt)).all():
        end = accounts.lose if (job, attempt) in held else accounts.cancel
        end(db, job, attempt)
    db.execute(update(jobs).where(jobs.c.status == Status.IN_PROGRESS).values(**sql.QUEUED))
