"""The table of owners with budgets of their own."""

from collections.abc import Mapping
from functools import lru_cache

from sqlalchemy import delete, select

from router.accounting.budgets import Budget, Budgets
from router.jobs.database import Database
from router.jobs.database.expressions import insert_or_update
from router.jobs.tables import owners


class OwnerStore:
    """The budgets of owners; an owner without a row has the default ones."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def all(self) -> Mapping[str, Budgets]:
        """Return the owners of the table by name, in its order."""
        rows = self._db.rows(select(owners).order_by(owners.c.owner))
        return {row["owner"]: Budgets(budget_of(row["gpu_seconds"]), budget_of(row["cost"])) for row in rows}

    def limit(self, owner: str, budgets: Budgets) -> None:
        """Change an owner's budgets; the next request meets them.

        An owner without budgets leaves the table.
        """
        if budgets == Budgets():
            self._db.change(lambda db: db.execute(delete(owners).where(owners.c.owner == owner)))
            return
        columns = {"gpu_seconds": text_of(budgets.gpu_seconds), "cost": text_of(budgets.cost)}
        self._db.change(lambda db: db.execute(insert_or_update(owners, {"owner": owner}, columns)))


@lru_cache(1000)  # a claim reads those of all that wait
def budget_of(text: str | None) -> Budget | None:
    """Return the budget of a column."""
    return Budget.parse(text) if text else None


def text_of(budget: Budget | None) -> str | None:
    """Return the column of a budget."""
    return str(budget) if budget else None
