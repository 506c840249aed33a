"""Checks of a store in PostgreSQL; nothing is migrated."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from router.doctor.finding import Finding, fail, ok, warn
from router.doctor.revision import compared
from router.errors import BootError, reason
from router.jobs.database import bare_engine
from router.jobs.database.schema import PROBE, known_facts, revision_of
from router.jobs.tables import FACTS_SINCE
from router.runtime.store_url import without_secrets
from router.settings import Settings

LEAST_VERSION = 15
SKEW_SECONDS = 2.0
HEARD_SECONDS = 2.0  # a notification arrives within this
CONNECTIONS = 16  # of a process at most: five that stay, ten more, and one that listens
CHANNEL = "framegate_doctor"
VERSION = text("SELECT current_setting('server_version_num')::integer / 10000, current_setting('server_version')")
CLOCK = text("SELECT extract(epoch FROM clock_timestamp())::float8")
LIMIT = text("""
    SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
""")
RIGHTS = text("SELECT current_schema(), coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)")
WAIT = text("SET LOCAL lock_timeout = '5s'")


def check(settings: Settings) -> Iterator[Finding]:
    name = without_secrets(settings.store)
    try:
        engine = bare_engine(settings.store)
    except BootError as error:
        yield fail("store", error.message, "install it where the processes run")
        return
    try:
        with engine.connect() as db:
            yield from _checks(db, engine, settings, name)
    except SQLAlchemyError as error:
        advice = "see that it runs, that this machine may connect (pg_hba.conf), and that user and password are right"
        yield fail("store", f"{name} cannot be used: {_line(error)}", advice)


def _checks(db: Connection, engine: Engine, settings: Settings, name: str) -> Iterator[Finding]:
    yield version(*db.execute(VERSION).one())
    yield skew(_skew(db))
    yield connections(db.execute(LIMIT).scalar_one(), settings.workers)
    schema, may_create = db.execute(RIGHTS).one()
    yield rights(schema, may_create)
    found = revision_of(db) or "none"
    yield compared(name, found, known_facts(db) if FACTS_SINCE <= found != "none" else {})
    db.rollback()
    if found != "none":
        yield writable(db, name)
    yield notified(engine)


def version(major: int, shown: str) -> Finding:
    if major < LEAST_VERSION:
        return fail("store", f"PostgreSQL is {shown}", f"{LEAST_VERSION} or newer is needed")
    return ok("store", f"PostgreSQL is {shown}")


def _skew(db: Connection) -> float:
    """Return the seconds by which this machine's clock is ahead of the database's."""
    before = time.time()
    there: float = db.execute(CLOCK).scalar_one()
    return (before + time.time()) / 2 - there


def skew(seconds: float) -> Finding:
    if abs(seconds) > SKEW_SECONDS:
        side = "ahead of" if seconds > 0 else "behind"
        message = f"this machine's clock is {abs(seconds):.0f} s {side} the database's"
        return warn("store", message, "leases go by the database's; set both: timedatectl set-ntp true")
    return ok("store", f"this machine's clock and the database's differ by less than {SKEW_SECONDS:g} s")


def connections(limit: int, workers: int) -> Finding:
    """Hold the server's limit against the processes of a machine with one engine."""
    most = (workers + 1) * CONNECTIONS
    shown = f"{workers} web processes and an engine open up to {most} connections, and the server allows {limit}"
    if most > limit:
        return warn("store", shown, "raise max_connections, or put PgBouncer in front of it")
    return ok("store", f"{shown}, for all machines")


def rights(schema: str | None, may_create: bool) -> Finding:
    if schema is None:
        return fail("store", "the user has no schema in its search_path", "CREATE SCHEMA AUTHORIZATION its name")
    if not may_create:
        advice = f"GRANT CREATE ON SCHEMA {schema} to it, or make it the owner of the database"
        return fail("store", f"the user may not create tables in the schema {schema}, as a start does", advice)
    return ok("store", f"the user may create tables in the schema {schema}")


def writable(db: Connection, name: str) -> Finding:
    """Write the row that every process tries, and undo it."""
    try:
        db.execute(WAIT)
        db.execute(text(PROBE))
    except SQLAlchemyError as error:
        return fail("store", f"{name} cannot be written: {_line(error)}", "see its log, and the rights of the user")
    finally:
        db.rollback()
    return ok("store", f"{name} can be written")


def notified(engine: Engine) -> Finding:
    """Listen, notify from another session, and see whether it arrives."""
    with closing(engine.raw_connection()) as first, engine.connect() as second:
        listening: Any = first.driver_connection
        listening.autocommit = True
        listening.execute(f"LISTEN {CHANNEL}")
        second.execute(text(f"NOTIFY {CHANNEL}"))
        second.commit()
        arrived = any(listening.notifies(timeout=HEARD_SECONDS, stop_after=1))
        listening.execute("UNLISTEN *")
    if not arrived:
        message = "notifications do not arrive, as behind PgBouncer in transaction mode: processes look twice a second"
        return warn("store", message, "connect to the server itself where answers must begin sooner")
    return ok("store", "notifications arrive: processes learn of changes at once")


def _line(error: SQLAlchemyError) -> str:
    return " ".join(reason(error).split())
