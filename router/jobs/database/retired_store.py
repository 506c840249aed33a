"""A store that takes no more writes, as it was moved."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, delete, insert, text
from sqlalchemy.exc import SQLAlchemyError

from router.errors import BootError
from router.jobs.database.database import Database
from router.jobs.database.opening import bare_engine
from router.jobs.database.schema import known_facts, unusable
from router.jobs.tables import MOVED, facts, metadata
from router.runtime.store_url import store_name

OURS = (*metadata.tables, "alembic_version")
EVENTS = ("INSERT", "UPDATE", "DELETE")
# The code of a read-only transaction: what is answered to a caller is then the same as on a standby server.
FUNCTION = """
    CREATE OR REPLACE FUNCTION framegate_moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION USING ERRCODE = '25006', MESSAGE = 'the store was moved to ' ||
            (SELECT value FROM facts WHERE name = 'moved_to');
    END $$
"""
ON_TABLE = """
    CREATE TRIGGER framegate_moved BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {}
    FOR EACH STATEMENT EXECUTE FUNCTION framegate_moved()
"""
ON_ROW = "CREATE TRIGGER framegate_moved_{0}_{1} BEFORE {1} ON {0} BEGIN SELECT RAISE(ABORT, '{2}'); END"


def retire(database: Database, target: str) -> None:
    """Refuse all writes from now on; the message names `target`."""
    # triggers, as running processes look at nothing else before they write
    with database.write() as db:
        db.execute(insert(facts).values(name=MOVED, value=target))
        for statement in _guards(db, target):
            db.execute(text(statement))


def reopen(store: Path | str) -> None:
    """Accept writes again; raise `BootError` for a store that was not moved."""
    try:
        with bare_engine(store).begin() as db:
            if MOVED not in known_facts(db):
                raise BootError(f"{store_name(store)} was not moved")
            for statement in _removals(db):
                db.execute(text(statement))
            db.execute(delete(facts).where(facts.c.name == MOVED))
    except SQLAlchemyError as error:
        raise unusable(store_name(store), error) from error


def _removals(db: Connection) -> Iterator[str]:
    if db.dialect.name == "postgresql":
        yield from (f"DROP TRIGGER IF EXISTS framegate_moved ON {name}" for name in OURS)
    else:
        yield from (f"DROP TRIGGER IF EXISTS framegate_moved_{name}_{event}" for name in OURS for event in EVENTS)


def _guards(db: Connection, target: str) -> Iterator[str]:
    """Yield the statements that guard every table of the store."""
    if db.dialect.name == "postgresql":
        yield FUNCTION
        yield from (ON_TABLE.format(name) for name in OURS)
    else:
        message = f"the store was moved to {target}".replace("'", "''").replace(":", "\\:")
        yield from (ON_ROW.format(name, event, message) for name in OURS for event in EVENTS)
