"""How SQLite runs a statement of the store."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, event


def plan(db: Connection, statement: Any, values: Mapping[str, Any]) -> str:
    """Return SQLite's plan, a line for each step."""
    # expanded lists and all: by what reaches the driver
    explained = event.listens_for(db, "before_cursor_execute", retval=True, once=True)
    explained(lambda connection, cursor, sql, *rest: (f"EXPLAIN QUERY PLAN {sql}", rest[0]))
    return "\n".join(row[-1] for row in db.execute(statement, values).cursor)
