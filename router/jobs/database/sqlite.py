"""One SQLite file: how it is opened, read and written."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from router.errors import may_be_disk_full
from router.jobs.database.database import Database, Made
from router.jobs.database.disk_reserve import LOG_SIZE, Reserve
from router.jobs.database.instant import Instant
from router.jobs.database.schema import PROBE, bring_up_to_date, is_usable, unusable
from router.runtime import clock, locks
from router.runtime.files import PRIVATE, make_folder, sync_folder

UNKNOWN_SECONDS = 0.1  # pause after a failed read of the data version
BUSY_SECONDS = 5.0  # a probe waits for other writers; longer than any write of ours
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=15000",
    "foreign_keys=ON",
    "secure_delete=ON",
    f"wal_autocheckpoint={LOG_SIZE // 4096}",  # pages: the log and what it adds to the store fit into the reserve
)


class SqliteDatabase(Database):
    """An SQLite file of one machine, with its locks beside it."""

    # Writers use BEGIN IMMEDIATE: a transaction that reads, then writes, would fail at once with "database is locked",
    # whatever the busy time-out. Readers need no transaction: each statement is its own.

    is_shared = False

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _open(path))
        self.path = path
        self.reserve = Reserve(path)
        try:
            self._begin_with_reserve()
        except (OSError, SQLAlchemyError) as error:
            raise unusable(path, error) from error

    def read(self) -> Connection:
        return self._engine.connect()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True, ordered: bool = True, announced: bool = True) -> Iterator[Connection]:
        options = {"immediate": True, "synchronous": "FULL" if durable else "NORMAL"}
        with self._engine.connect() as connection, connection.execution_options(**options).begin():
            yield connection

    def change(self, make: Callable[[Connection], Made], *, durable: bool = True) -> Made:
        try:
            return super().change(make, durable=durable)
        except SQLAlchemyError as error:
            if not may_be_disk_full(error):
                raise
            self.reserve.release()
            with suppress(SQLAlchemyError), self.read() as connection:  # restart the log in the space of the reserve
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        return super().change(make, durable=durable)

    def instant(self, connection: Connection) -> Instant:
        return Instant(clock.boot(), clock.now())

    def pulse(self) -> Callable[[], int]:
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

    def exclusive(self, name: str) -> AbstractContextManager[int]:
        return locks.exclusive(self._lock(name))

    def exclusive_if_free(self, name: str) -> AbstractContextManager[bool]:
        return locks.exclusive_if_free(self._lock(name))

    def problem(self) -> str | None:
        # opened anew: open files stay writable on a disk that has become read-only
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as db:
                db.execute(PROBE)
        except sqlite3.Error as error:
            return str(error)
        return None

    def scrub(self) -> None:
        # the log still holds pages of deleted rows
        with self.read() as db:
            db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def keep_reserve(self) -> None:
        self.reserve.keep()

    def _lock(self, name: str) -> Path:
        return self.path.with_name(f"{name}.lock")

    def _begin_with_reserve(self) -> None:
        """Open the store; on a full disk release the reserve first."""
        # SQLite needs some free space even to read
        try:
            self._begin()
        except SQLAlchemyError as error:
            if not may_be_disk_full(error) or not self.reserve.release():
                raise
            self._begin()
            self.reserve.release()  # once more, to the log that there is now

    def _begin(self) -> None:
        make_folder(self.path.parent)
        require_store(self.path)
        if not self.path.exists():
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, PRIVATE))  # SQLite gives its log the same permissions
        with self.read() as connection:
            is_ready = is_usable(connection, self.name)
        if not is_ready:
            with locks.exclusive(self.path.with_suffix(".lock")), self.write() as connection:
                bring_up_to_date(connection, self.name)
        sync_folder(self.path.parent)  # the name of a new store, which another process may have made this moment


def require_store(path: Path) -> None:
    """Raise `OSError` for an empty store whose jobs still have files."""
    empty = path.exists() and not path.stat().st_size
    folders = path.with_name("inputs"), path.with_name("videos")
    if empty and any(folder.is_dir() and any(folder.iterdir()) for folder in folders):
        raise OSError("it is empty, and files of its jobs are there: bring it back from a copy, or remove it")


def _open(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", pool_size=8, max_overflow=-1)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("immediate", False):
            if connection.info.get("synchronous") != options["synchronous"]:
                connection.exec_driver_sql(f"PRAGMA synchronous={options['synchronous']}")
                connection.info["synchronous"] = options["synchronous"]
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
