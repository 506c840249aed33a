"""The ledger: sums of used work by day, owner, key, model and outcome."""

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, cast, func, select

from router.accounting.ledger_rows import LOAD, LedgerRow
from router.jobs.database import Database
from router.jobs.database.expressions import insert
from router.jobs.tables import ledger
from router.values import Usage

NAMES = ("day", "owner", "key", "model", "outcome", "attempts")
AMOUNTS = tuple(field.name for field in fields(Usage))
ROW = insert(ledger)
BOOK = ROW.on_conflict_do_update(
    index_elements=list(ledger.primary_key),
    set_={name: ledger.c[name] + ROW.excluded[name] for name in ("attempts", *AMOUNTS)},
)


class Ledger:
    """The used work of all jobs, deleted ones included."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_load(self, model: str, seconds: float) -> None:
        """Book the seconds of a load: they are the server's, whichever job needed it."""
        with self._db.write(durable=False) as db:
            book(db, "", "", model, LOAD, Usage(seconds))

    def rows(
        self, since: str, until: str, *, owner: str | None = None, key: str | None = None, model: str | None = None
    ) -> tuple[LedgerRow, ...]:
        """Return the rows of the days `since` to `until`, the newest day first.

        Without an owner, key or model the rows of all.
        """
        wanted = select(ledger).where(ledger.c.day >= since, ledger.c.day <= until)
        for column, value in ((ledger.c.owner, owner), (ledger.c.key, key), (ledger.c.model, model)):
            if value is not None:
                wanted = wanted.where(column == value)
        found = self._db.rows(wanted.order_by(ledger.c.day.desc(), *list(ledger.primary_key)[1:]))
        return tuple(LedgerRow(**{name: row[name] for name in NAMES}, used=_used(row)) for row in found)

    def rows_by_key(self, since: str, until: str) -> tuple[LedgerRow, ...]:
        """Return the sums of these days by key and outcome; other names are empty."""
        # by the database: a month of a thousand keys has a hundred thousand rows
        sums = [cast(func.sum(ledger.c[name]), ledger.c[name].type).label(name) for name in ("attempts", *AMOUNTS)]
        wanted = select(ledger.c.key, ledger.c.outcome, *sums).where(ledger.c.day >= since, ledger.c.day <= until)
        return tuple(
            LedgerRow("", "", row["key"], "", row["outcome"], row["attempts"], _used(row))
            for row in self._db.rows(wanted.group_by(ledger.c.key, ledger.c.outcome))
        )

    def names(self, field: str) -> frozenset[str]:
        """Return the owners, keys or models that have rows, by the field's name."""
        with self._db.read() as db:
            return frozenset(db.scalars(select(ledger.c[field]).where(ledger.c[field] != "").distinct()))

    def gpu_seconds(self) -> Mapping[tuple[str, str], float]:
        """Return the seconds by model and outcome since the first day."""
        sums = select(ledger.c.model, ledger.c.outcome, func.sum(ledger.c.gpu_seconds))
        with self._db.read() as db:
            found = db.execute(sums.group_by(ledger.c.model, ledger.c.outcome)).all()
        return {(model, outcome): seconds for model, outcome, seconds in found}


def _used(row: Mapping[Any, Any]) -> Usage:
    return Usage(**{name: row[name] for name in AMOUNTS})


def book(db: Connection, owner: str, key: str, model: str, outcome: str, used: Usage) -> None:
    """Add the work of one attempt, or load, to today's sums."""
    names = {"day": day_of(time.time()), "owner": owner, "key": key, "model": model, "outcome": outcome}
    db.execute(BOOK, {**names, "attempts": 1, **vars(used)})


def day_of(seconds: float) -> str:
    """Return the day (UTC), such as 2026-12-01, of seconds since 1970."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
