"""The ledger: sums of used work by day, owner, key, model and outcome."""

from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite import insert

from router.jobs.database import Database
from router.jobs.tables import ledger
from router.values import Usage

LOAD = "load"  # the outcome of the server's own loads


class Ledger:
    """The used work of all jobs, deleted ones included."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_load(self, model: str, seconds: float) -> None:
        """Book the seconds of a load: they are the server's, whichever job needed it."""
        with self._db.write(durable=False) as db:
            book(db, "", "", model, LOAD, Usage(seconds))


def book(db: Connection, owner: str, key: str, model: str, outcome: str, used: Usage) -> None:
    """Add the work of one attempt, or load, to today's sums."""
    names = {"day": datetime.now(UTC).strftime("%Y-%m-%d"), "owner": owner, "key": key, "model": model}
    sums = {"attempts": 1, **vars(used)}
    row = insert(ledger).values(**names, outcome=outcome, **sums)
    added = {name: ledger.c[name] + row.excluded[name] for name in sums}
    db.execute(row.on_conflict_do_update(list(ledger.primary_key), set_=added))
