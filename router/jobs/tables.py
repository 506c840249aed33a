"""The tables after the newest migration."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)  # fmt: skip
from sqlalchemy.types import TypeEngine

HEAD = "0013"  # the newest migration: a database that says so needs no Alembic at boot

# Old processes go on beside new ones: a migration only adds tables, indexes and columns that are nullable or have a
# server default. It then leaves this fact as it is; any other migration sets it to its own revision, and all
# processes must be stopped for it. Code uses a store of a newer revision if its own is at least the fact.
LEAST = "least_revision"
USABLE_SINCE = "0013"  # of a new store
FACTS_SINCE = "0013"  # the first revision with facts
MOVED = "moved_to"  # the fact of a store that takes no more writes: the name of the new one
LIMITED = text("gpu_seconds IS NOT NULL OR cost IS NOT NULL")
LARGE = BigInteger().with_variant(Integer(), "sqlite")


def _name(length: int) -> TypeEngine[str]:
    """Return the type of short strings, usually up to a length."""
    # SQLite does not insist on it, and PostgreSQL would
    return String(length).with_variant(Text(collation="C"), "postgresql")


metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("seq", LARGE, primary_key=True),
    Column("id", _name(64), nullable=False, unique=True),
    Column("owner", _name(128), nullable=False),
    Column("model", _name(128), nullable=False),
    Column("status", _name(16), nullable=False),
    Column("attempt", Integer, nullable=False),  # number of claims; never decreases
    Column("lost", Integer, nullable=False),  # number of lost engines
    Column("engine", _name(64)),
    Column("lease_boot", _name(64)),
    Column("lease_until", Float),
    Column("version", LARGE, nullable=False),
    Column("request_id", _name(128), nullable=False),
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
    Column("estimate", Float),  # seconds of work; None before the first measured job
    Column("revision", LARGE),  # of the models file, at acceptance
    Column("key", _name(16)),  # the API key of its request
    Column("numerics", Text),  # at acceptance; None in jobs of older versions
    Column("arrived_at", Float, nullable=False, server_default="0"),  # on the scheduling clock
    Column("due_at", Float, nullable=False, server_default="0"),  # on that clock: the order of the queue
    Column("price", Float),  # of a second of work, at acceptance
    Column("usage", Text),  # of its ended attempts
    Column("searched", Text, nullable=False, server_default=""),  # the prompt, casefolded
    Column("cause", Text),  # the exception of a failed job
    # each model's next job, and the jobs ahead of a job
    Index("jobs_queue", "status", "model", text("priority DESC"), "due_at", "seq", "estimate"),
    Index("jobs_finished", "finished_at"),  # old jobs
    Index("jobs_owner", "owner", "seq", "status", "model"),  # a page of an owner's jobs, by status and model
    Index("jobs_key", "key", "status"),  # queued jobs of a key
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("n", LARGE, primary_key=True),
    Column("job", _name(64), nullable=False),
    Column("seq", LARGE),  # of a deleted job: a page may start after it
    Column("owner", _name(128)),  # of a deleted job
    sqlite_autoincrement=True,  # n never decreases, even when old rows are pruned
)

keys = Table(
    "keys",
    metadata,
    Column("owner", _name(128), primary_key=True),
    Column("key", _name(256), primary_key=True),
    Column("request", _name(64), nullable=False),  # digest of the request
    Column("job", _name(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Index("keys_age", "created_at"),
)

engines = Table(
    "engines",
    metadata,
    Column("id", _name(64), primary_key=True),
    Column("device", _name(32), nullable=False),
    Column("pid", LARGE, nullable=False),
    Column("models", Text, nullable=False),
    Column("resident", Text, nullable=False),
    Column("job", _name(64)),
    Column("boot", _name(64), nullable=False),
    Column("seen", Float, nullable=False),
    Column("memory", Text, nullable=False, server_default="{}"),
    Column("warm", Text, nullable=False, server_default="[]"),
    Column("paths", Text, nullable=False, server_default="{}"),
    Column("lacks", Text, nullable=False, server_default="{}"),  # by model
    Column("kind", _name(64), nullable=False, server_default=""),
    Column("loads", Text, nullable=False, server_default="{}"),  # seconds of a load, by model
    Column("draining", Boolean, nullable=False, server_default=false()),  # it claims no more jobs
    Column("lock_domain", _name(64), nullable=False, server_default=""),  # of the lock on its device
)

# Claimed attempts whose work is not in the ledger yet. They outlive a deleted job.
attempts = Table(
    "attempts",
    metadata,
    Column("job", _name(64), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("engine", _name(64), nullable=False),
    Column("owner", _name(128), nullable=False),
    Column("key", _name(16), nullable=False),  # "" without one
    Column("model", _name(128), nullable=False),
    Column("boot", _name(64), nullable=False),
    Column("claimed_at", Float, nullable=False),  # of the clock of `boot`
    Column("began", Float),  # its own work, on that clock; None while its model loads
    Column("reported_at", Float),  # that work, the last time
    Column("estimate", Float),
    Column("price", Float),
    Index("attempts_owner", "owner", "key"),
)

# Sums of ended attempts by the day (UTC) on which they ended; they outlive the jobs.
ledger = Table(
    "ledger",
    metadata,
    Column("day", _name(10), primary_key=True),  # such as 2026-12-01
    Column("owner", _name(128), primary_key=True),  # "" for the server's own loads
    Column("key", _name(16), primary_key=True),  # "" without one
    Column("model", _name(128), primary_key=True),
    Column("outcome", _name(16), primary_key=True),  # of `Outcome`, or `load`
    Column("attempts", LARGE, nullable=False),
    Column("gpu_seconds", Float, nullable=False),
    Column("steps", LARGE, nullable=False),
    Column("frames", LARGE, nullable=False),
    Column("pixels", LARGE, nullable=False),
    Column("cost", Float, nullable=False),
    Index("ledger_owner", "owner", "day"),
    Index("ledger_key", "key", "day"),
)

owners = Table(
    "owners",
    metadata,
    Column("owner", _name(128), primary_key=True),
    Column("gpu_seconds", _name(32)),  # budgets, such as 3600/day
    Column("cost", _name(32)),
)


job_timings = Table(
    "timings",
    metadata,
    Column("kind", _name(64), primary_key=True),  # of the device
    Column("model", _name(128), primary_key=True),
    Column("variant", _name(64), primary_key=True),  # digest of what else of the entry changes the time
    Column("mode", _name(256), primary_key=True),  # guidance, kinds of input, adapters
    Column("width", Integer, primary_key=True),
    Column("height", Integer, primary_key=True),
    Column("frames", LARGE, primary_key=True),
    Column("recent", Text, nullable=False),  # the newest measured seconds
    Column("is_split", Boolean, nullable=False),  # text was told from steps
    Column("number", LARGE, nullable=False),  # the highest of the kind: the newest
)

load_timings = Table(
    "loads",
    metadata,
    Column("kind", _name(64), primary_key=True),
    Column("model", _name(128), primary_key=True),
    Column("variant", _name(64), primary_key=True),
    Column("origin", _name(8), primary_key=True),  # cold or warm
    Column("recent", Text, nullable=False),
)

scheduling_clock = Table(
    "scheduling_clock",  # one row: seconds that never go back, also across reboots
    metadata,
    Column("boot", _name(64), nullable=False),
    Column("shift", Float, nullable=False),  # added to the clock of `boot`
)

revisions = Table(
    "revisions",
    metadata,
    Column("n", LARGE, primary_key=True),
    Column("created_at", Float, nullable=False),  # time of reading the file
    Column("digest", _name(64), nullable=False),  # of the text
    Column("text", Text, nullable=False),  # the models file, below a comment with its path
    Column("traits", Text),  # of model folders, in a store of many machines
    sqlite_autoincrement=True,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("number", LARGE, primary_key=True),
    Column("id", _name(16), nullable=False, unique=True),
    Column("name", _name(64), nullable=False, unique=True),
    Column("owner", _name(128), nullable=False),
    Column("scopes", _name(64), nullable=False),  # words
    Column("digest", _name(64), nullable=False),
    Column("queued", Integer),
    Column("running", Integer),
    Column("per_minute", Integer),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("version", LARGE, nullable=False),  # changes with each change of any key
    Column("gpu_seconds", _name(32)),  # budgets, such as 3600/day
    Column("cost", _name(32)),
    Index("api_keys_version", "version"),
    Index("api_keys_budgets", "id", sqlite_where=LIMITED, postgresql_where=LIMITED),
    sqlite_autoincrement=True,  # a number is never used again
)

facts = Table(
    "facts",  # of the store as a whole
    metadata,
    Column("name", _name(64), primary_key=True),
    Column("value", Text, nullable=False),
)

# What the processes of one machine keep in files, and those of several machines here.

rates = Table(
    "rates",  # of keys: when all calls of the last minute are free again, on the clock of leases
    metadata,
    Column("number", LARGE, primary_key=True, autoincrement=False),  # of the key
    Column("kind", _name(16), primary_key=True),
    Column("free_at", Float, nullable=False),
)

waiters = Table(
    "waiters",  # requests that wait for a job
    metadata,
    Column("job", _name(64), primary_key=True),
    Column("process", _name(64), primary_key=True),
    Column("until", Float, nullable=False),  # renewed while the process lives, on the clock of leases
    Index("waiters_process", "process"),
)
