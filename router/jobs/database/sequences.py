"""The sequences of a store's numbers, which are never used again."""

from sqlalchemy import Column, Connection, func, select, text

from router.jobs.tables import metadata

NUMBERED = (table for table in metadata.sorted_tables if table.dialect_options["sqlite"]["autoincrement"])
NUMBERS: tuple[Column[int], ...] = tuple(next(iter(table.primary_key)) for table in NUMBERED)
LAST = {
    "sqlite": text("SELECT seq FROM sqlite_sequence WHERE name = :table"),
    "postgresql": text("SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence(:table, :column) AS regclass))"),
}
CONTINUE = {
    "sqlite": (
        text("DELETE FROM sqlite_sequence WHERE name = :table"),
        text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :last)"),
    ),
    "postgresql": (text("SELECT setval(pg_get_serial_sequence(:table, :column), :last)"),),
}


def continue_sequences(source: Connection, target: Connection) -> None:
    """Let the numbers of `target` go on after the last of `source`."""
    for column in NUMBERS:
        names = {"table": column.table.name, "column": column.name}
        last = max(source.scalar(query, names) or 0 for query in (LAST[source.dialect.name], select(func.max(column))))
        if last:
            for statement in CONTINUE[target.dialect.name]:
                target.execute(statement, {**names, "last": last})
