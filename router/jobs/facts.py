"""Facts of a store as a whole, by name."""

from collections.abc import Callable

from sqlalchemy import select

from router.jobs.database import Database
from router.jobs.database.expressions import insert
from router.jobs.tables import facts

LINKS_SECRET = "links.secret"  # the name of the fact in a shared store, else of a file beside it


class FactStore:
    """Values that all processes of a store have in common."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get_or_make(self, name: str, make: Callable[[], str]) -> str:
        """Return a fact's value, made by the first process that needs it."""
        known = select(facts.c.value).where(facts.c.name == name)
        with self._db.read() as db:
            value = db.scalar(known)
        if value is None:
            new = insert(facts).values(name=name, value=make())
            with self._db.write() as db:
                db.execute(new.on_conflict_do_nothing(index_elements=[facts.c.name]))
                value = db.execute(known).scalar_one()
        return str(value)
