"""The connections of a process to PostgreSQL."""

import time
from typing import Any

import psycopg
from psycopg.adapt import Dumper
from sqlalchemy import Engine, ExceptionContext, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from router.errors import is_outage
from router.jobs.database.outage import Outage
from router.jobs.database.patient_driver import PatientConnection

RESTED_SECONDS = 1.0  # a connection that was used since then is good
CONNECT = {
    "connect_timeout": 3,
    # a cut link is noticed within seconds, and not after a quarter of an hour
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 8000,
    "client_encoding": "utf8",
    "application_name": "framegate",
    "prepare_threshold": None,  # PgBouncer gives each transaction another session
}


class _Text(Dumper):
    """Sends a string without NUL, which PostgreSQL's text cannot hold."""

    # a prompt may have one, and what a caller asks for
    def dump(self, text: str) -> bytes:
        return text.replace("\0", "\ufffd").encode()


def open_engine(url: URL, outage: Outage) -> Engine:
    """Return an engine whose connections are patient, and are tried after a rest."""
    engine = create_engine(url, connect_args=CONNECT, pool_size=5, max_overflow=10, pool_timeout=15)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        connection.adapters.register_dumper(str, _Text)

    @event.listens_for(engine, "do_connect")
    def connect(dialect: object, record: object, words: Any, options: Any) -> PatientConnection:
        return outage.connect(lambda: PatientConnection.connect(*words, **options), psycopg.OperationalError)

    @event.listens_for(engine, "checkin")
    def rest(connection: object, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def wake(connection: Any, record: ConnectionPoolEntry, fairy: object) -> None:
        # `pool_pre_ping` would cost a round trip each time
        if time.monotonic() - record.info.get("rests_since", float("inf")) < RESTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError from error

    @event.listens_for(engine, "do_execute")
    def execute(cursor: Any, statement: str, parameters: object, context: object) -> bool:
        """Run the two statements that begin a write; the second has the result."""
        if not statement.startswith("BEGIN;"):
            return False
        cursor.execute(statement)
        cursor.nextset()
        return True

    @event.listens_for(engine, "handle_error")
    def note(context: ExceptionContext) -> None:
        error = context.original_exception
        if isinstance(error, Exception) and is_outage(error):
            outage.begin(error)

    return engine
