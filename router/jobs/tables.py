"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, MetaData, String, Table, Text

HEAD = "0003"  # the newest migration: a database that says so needs no Alembic at boot

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(128), nullable=False),
    Column("model", String(128), nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),  # how often it was claimed; a number is never used again
    Column("lost", Integer, nullable=False),  # how many engines it lost
    Column("engine", String(64)),
    Column("lease_boot", String(64)),
    Column("lease_until", Float),
    Column("version", Integer, nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("task", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("progress", Text),
    Column("warnings", Text, nullable=False),
    Column("artifact", Text),
    Column("failure", Text),
    Index("jobs_queue", "status", "seq", "model"),  # covers the search for the next job
    Index("jobs_owner", "owner", "seq"),  # a page of an owner's jobs
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("job", String(64), nullable=False),
    Column("seq", Integer),  # where the job stood that this change deleted: a page may still go on after it
    sqlite_autoincrement=True,  # n never goes back, even when old rows are pruned
)

keys = Table(
    "keys",
    metadata,
    Column("owner", String(128), primary_key=True),
    Column("key", String(256), primary_key=True),
    Column("request", String(64), nullable=False),  # digest of what was asked
    Column("job", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Index("keys_age", "created_at"),
)

engines = Table(
    "engines",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("device", String(32), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("models", Text, nullable=False),
    Column("resident", Text, nullable=False),
    Column("job", String(64)),
    Column("boot", String(64), nullable=False),
    Column("seen", Float, nullable=False),
)
