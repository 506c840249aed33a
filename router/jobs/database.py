"""One SQLite file: how it is opened, brought up to date, read and written."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from router.errors import BootError
from router.jobs import tables

PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=15000", "foreign_keys=ON", "secure_delete=ON")
UNKNOWN_SECONDS = 0.1  # until it is asked again what the store did not say


class Database:
    """Opened after fork, closed by `close`; safe to use from many threads.

    Writers start with BEGIN IMMEDIATE: a transaction that reads first and then writes would fail at once
    with "database is locked", whatever the busy time-out. Readers need no transaction: each statement is its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _open(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._migrate()
        except (OSError, SQLAlchemyError) as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise BootError(f"the job store {path} cannot be opened: {reason}; 'framegate doctor' says more") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self._engine.connect() as connection, connection.execution_options(immediate=True).begin():
            yield connection

    def pulse(self) -> Callable[[], int]:
        """Return a function, for one thread, whose number changes with every commit: microseconds, no query.

        It raises nothing: a store that does not say counts as changed, and whoever asks it then hears why.
        """
        connection: sqlite3.Connection | None = None
        unknown = count(-1, -1)

        def version() -> int:
            nonlocal connection
            try:
                connection = connection or sqlite3.connect(self.path, isolation_level=None)
                number: int = connection.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error:
                connection = None
                time.sleep(UNKNOWN_SECONDS)
                return next(unknown)
            return number

        return version

    def close(self) -> None:
        self._engine.dispose()

    def _migrate(self) -> None:
        if self._revision() == tables.HEAD:
            return
        with open(self.path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            revision = self._revision()
            if revision is not None and revision > tables.HEAD:
                raise BootError(
                    f"{self.path} is of a newer Framegate (revision {revision}, this one knows {tables.HEAD}): "
                    "use that one, or another data folder"
                )
            if revision is None:
                with self.write() as connection:
                    _create(connection)
            elif revision != tables.HEAD:
                with self.write() as connection:
                    upgrade(connection)

    def _revision(self) -> str | None:
        with self.read() as connection:
            known = connection.execute(text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")).first()
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if known else None


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring a store of any older revision, or an empty one, to this `revision` by the migrations."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _create(connection: Connection) -> None:
    """Make a new store as the newest migration leaves it, in a fifth of the time and without Alembic."""
    tables.metadata.create_all(connection, checkfirst=False)
    connection.execute(insert(tables.turns).values(n=0))
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": tables.HEAD})


def _open(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", pool_size=8, max_overflow=-1)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("immediate", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
