"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, MetaData, String, Table, Text, text

HEAD = "0009"  # the newest migration: a database that says so needs no Alembic at boot

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
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("due", Integer, nullable=False, server_default="0"),  # the turn at which nobody overtakes it any more
    Column("overtaken_at", Float),  # when a younger job was first claimed before it
    Column("estimate", Float),  # seconds of work, as far as measured
    Column("revision", Integer),  # of the models file, under which it was accepted
    Column("key", String(16)),  # the API key that asked for it
    # covers the search for each model's next job, and for what is ahead of one
    Index("jobs_queue", "status", "model", text("priority DESC"), "seq", "estimate"),
    Index("jobs_due", "status", "model", "priority", "due"),  # and for what is due
    Index("jobs_finished", "finished_at"),  # what is old
    Index("jobs_owner", "owner", "seq"),  # a page of an owner's jobs
    Index("jobs_key", "key", "status"),  # how many jobs of a key are queued
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("job", String(64), nullable=False),
    Column("seq", Integer),  # where the job stood that this change deleted: a page may still go on after it
    Column("owner", String(128)),  # and whose it was
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
    Column("memory", Text, nullable=False, server_default="{}"),
    Column("warm", Text, nullable=False, server_default="[]"),
    Column("paths", Text, nullable=False, server_default="{}"),
    Column("lacks", Text, nullable=False, server_default="{}"),  # by model
)

turns = Table("turns", metadata, Column("n", Integer, nullable=False))  # one row: how many jobs were ever claimed

paces = Table(
    "paces",
    metadata,
    Column("model", String(128), primary_key=True),
    Column("shape", String(64), primary_key=True),
    Column("step", Float, nullable=False),  # seconds of one
    Column("rest", Float, nullable=False),  # seconds of all that follows the steps
)

revisions = Table(
    "revisions",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("created_at", Float, nullable=False),  # when the file was read
    Column("digest", String(64), nullable=False),  # of the text
    Column("text", Text, nullable=False),  # the models file, below a comment that says where it is
    sqlite_autoincrement=True,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(16), nullable=False, unique=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("owner", String(128), nullable=False),
    Column("scopes", String(64), nullable=False),  # words
    Column("digest", String(64), nullable=False),
    Column("queued", Integer),
    Column("running", Integer),
    Column("per_minute", Integer),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("version", Integer, nullable=False),  # a new one for each change of any key
    Index("api_keys_version", "version"),
    sqlite_autoincrement=True,  # a number is never used again
)
