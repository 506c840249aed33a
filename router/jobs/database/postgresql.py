"""PostgreSQL, which many machines share: how it is opened, read and written."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from zlib import crc32

import psycopg
from sqlalchemy import Connection, Engine, NullPool, Table, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from router.errors import is_outage, reason
from router.jobs.database.database import Database
from router.jobs.database.instant import Instant
from router.jobs.database.listener import CHANNEL, Listener
from router.jobs.database.outage import REST_SECONDS, Outage
from router.jobs.database.patient_driver import SILENCE_SECONDS, PatientConnection
from router.jobs.database.postgres_engine import CONNECT, open_engine
from router.jobs.database.schema import PROBE, bring_up_to_date, is_usable, unusable
from router.runtime.store_url import without_secrets

FAMILY = 0x46726D67  # of our advisory locks
# An ordered write begins with the lock that all of them take: what BEGIN IMMEDIATE is in SQLite. A holder that stands
# still, or whose machine is gone, loses its session after 10 seconds, and with it the lock. Its statements have their
# indexes; by the statistics of a table that has just grown they would read all of it.
BEGIN = """BEGIN; SELECT set_config('synchronous_commit', '{}', true), set_config('lock_timeout', '15s', true),
    set_config('idle_in_transaction_session_timeout', '10s', true), set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true), {}extract(epoch FROM clock_timestamp())::float8"""
LOCK_SECONDS = 15.0  # as in BEGIN
# A lock by name is held longer, also against the server's own limit, and ends with its connection, which the server
# looks after.
HOLD = """
    SELECT set_config('tcp_keepalives_idle', '5', true), set_config('tcp_keepalives_interval', '2', true),
        set_config('tcp_keepalives_count', '3', true), set_config('idle_in_transaction_session_timeout', '0', true), {}
"""
TRY = text(HOLD.format("pg_try_advisory_xact_lock(:family, :name)"))
AGAIN_SECONDS = 0.05  # between two tries: a statement that waits cannot be told from a server that is silent
CLOCK = text("SELECT extract(epoch FROM clock_timestamp())::float8")
COMMIT = f"NOTIFY {CHANNEL}; COMMIT"


def _lock(name: str) -> dict[str, int]:
    return {"family": FAMILY, "name": crc32(name.encode()) - 2**31}


WRITES = "pg_advisory_xact_lock({family}, {name}), ".format(**_lock("writes"))  # the lock of ordered writes


class PostgresDatabase(Database):
    """A database of PostgreSQL 15 or newer, by its URL; `wait` outlasts an outage."""

    is_shared = True

    def __init__(self, store: str, *, wait: bool = False) -> None:
        url = make_url(store)
        name = without_secrets(store)
        self._outage = Outage(name)
        super().__init__(name, open_engine(url, self._outage))
        self._listener = Listener(self._engine)
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._outage.is_logged = wait
        self._open(wait)
        self._outage.is_logged = True

    def read(self) -> Connection:
        return self._reading.connect()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._snapshots.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True, ordered: bool = True, announced: bool = True) -> Iterator[Connection]:
        # in as few round trips as can be: with BEGIN and COMMIT of the driver's own there are two more, under the lock
        begin = BEGIN.format("on" if durable else "off", WRITES if ordered else "")
        with self.read() as connection, connection.begin():
            with _unhurried(connection, SILENCE_SECONDS + LOCK_SECONDS):
                *_, at = connection.exec_driver_sql(begin).one()
            info = connection.info  # of the pooled connection
            info["begun"] = at, time.monotonic()
            try:
                yield connection
            finally:
                info.pop("begun", None)  # a lost connection has none
            if durable and announced:
                connection.exec_driver_sql(COMMIT)
        self._outage.end()

    def load(self, connection: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        names = ", ".join(map(connection.dialect.identifier_preparer.quote, table.columns.keys()))
        statement = f"COPY {table.name} ({names}) FROM STDIN"  # a quarter of the time of inserts
        driver: Any = connection.connection.driver_connection
        try:
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise DBAPIError.instance(statement, None, error, psycopg.Error) from error

    def instant(self, connection: Connection) -> Instant:
        begun = connection.info.get("begun")
        if begun is None:
            return Instant("", connection.execute(CLOCK).scalar_one())
        at, before = begun
        return Instant("", at + time.monotonic() - before)

    def pulse(self) -> Callable[[], int]:
        return self._listener.number

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        with self._engine.begin() as connection:
            while not _is_taken(connection, name):
                time.sleep(AGAIN_SECONDS)
            yield

    @contextmanager
    def exclusive_if_free(self, name: str) -> Iterator[bool]:
        with self._engine.begin() as connection:
            yield _is_taken(connection, name)

    def problem(self) -> str | None:
        try:
            with self.write(durable=False, ordered=False) as connection:
                connection.execute(text(PROBE))
        except SQLAlchemyError as error:
            return reason(error)
        return None

    def _open(self, wait: bool) -> None:
        while True:
            try:
                return self._begin()
            except SQLAlchemyError as error:
                if not (wait and is_outage(error)):
                    raise unusable(self.name, error) from error
                time.sleep(REST_SECONDS)

    def _begin(self) -> None:
        with self.read() as connection:
            is_ready = is_usable(connection, self.name)
        if not is_ready:
            with self.write() as connection, _unhurried(connection):
                bring_up_to_date(connection, self.name)

    def close(self) -> None:
        self._listener.close()
        super().close()


def bare_engine(store: str) -> Engine:
    """Return an engine without a pool; a store stays as it is."""
    return create_engine(store, connect_args=CONNECT, poolclass=NullPool)


def _is_taken(connection: Connection, name: str) -> bool:
    *_, is_held = connection.execute(TRY, _lock(name)).one()
    return bool(is_held)


@contextmanager
def _unhurried(connection: Connection, silence: float = float("inf")) -> Iterator[None]:
    """Allow the server a longer silence within the block."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, PatientConnection)
    driver.silence = silence
    try:
        yield
    finally:
        driver.silence = SILENCE_SECONDS
