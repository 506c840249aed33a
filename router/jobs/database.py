"""One SQLite file: how it is opened, brought up to date, read and written."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, RowMapping, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from router.errors import BootError, may_be_disk_full, reason
from router.jobs import tables
from router.jobs.disk_reserve import LOG_SIZE, Reserve
from router.runtime import locks
from router.runtime.files import PRIVATE, make_folder, sync_folder

UNKNOWN_SECONDS = 0.1  # pause after a failed read of the data version
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=15000",
    "foreign_keys=ON",
    "secure_delete=ON",
    f"wal_autocheckpoint={LOG_SIZE // 4096}",  # pages: the log and what it adds to the store fit into the reserve
)
Made = TypeVar("Made")


class Database:
    """An SQLite file, opened after fork; safe to use from many threads."""

    # Writers use BEGIN IMMEDIATE: a transaction that reads, then writes, would fail at once with "database is locked",
    # whatever the busy time-out. Readers need no transaction: each statement is its own.

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reserve = Reserve(path)
        self._engine = _open(path)
        try:
            self._begin_with_reserve()
        except (OSError, SQLAlchemyError) as error:
            raise unusable(path, error) from error

    def read(self) -> Connection:
        return self._engine.connect()

    def rows(self, query: Executable) -> Sequence[RowMapping]:
        with self.read() as connection:
            return connection.execute(query).mappings().all()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Open a write transaction; without `durable` a power cut may undo it.

        A durable write waits for the disk: answers are durable, progress and heartbeats are not.
        """
        options = {"immediate": True, "synchronous": "FULL" if durable else "NORMAL"}
        with self._engine.connect() as connection, connection.execution_options(**options).begin():
            yield connection

    def change(self, make: Callable[[Connection], Made], *, durable: bool = True) -> Made:
        """Run a small, freeing write; on a full disk it may use the reserve."""
        try:
            with self.write(durable=durable) as connection:
                return make(connection)
        except SQLAlchemyError as error:
            if not may_be_disk_full(error):
                raise
            self.reserve.release()
            with suppress(SQLAlchemyError), self.read() as connection:  # restart the log in the space of the reserve
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        with self.write(durable=durable) as connection:
            return make(connection)

    def pulse(self) -> Callable[[], int]:
        """Return a function, for one thread, whose number changes with every commit; no query.

        The function raises nothing: a failed read counts as a change, and the next query raises the error.
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
        self._migrate()
        sync_folder(self.path.parent)  # the name of a new store, which another process may have made this moment

    def _migrate(self) -> None:
        if self._revision() == tables.HEAD:
            return
        with locks.exclusive(self.path.with_suffix(".lock")):
            revision = self._revision()
            if revision is not None and revision > tables.HEAD:
                raise BootError(
                    f"{self.path} is of a newer Framegate (revision {revision}, this one knows {tables.HEAD}): "
                    "use that one, or another data folder"
                )
            bring_up_to_date = _create if revision is None else upgrade
            if revision != tables.HEAD:  # another process may have done it meanwhile
                with self.write() as connection:
                    bring_up_to_date(connection)

    def _revision(self) -> str | None:
        with self.read() as connection:
            known = connection.execute(text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")).first()
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if known else None


def unusable(path: Path, error: Exception) -> BootError:
    """Return the one-line error of a process that cannot open this store."""
    return BootError(f"the job store {path} cannot be opened: {reason(error)}; 'framegate doctor' says more")


def require_store(path: Path) -> None:
    """Raise `OSError` for an empty store whose jobs still have files."""
    empty = path.exists() and not path.stat().st_size
    folders = path.with_name("inputs"), path.with_name("videos")
    if empty and any(folder.is_dir() and any(folder.iterdir()) for folder in folders):
        raise OSError("it is empty, and files of its jobs are there: bring it back from a copy, or remove it")


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Migrate a store of any older revision, or an empty one, to `revision`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _create(connection: Connection) -> None:
    """Create the newest schema without Alembic, in a fifth of the time."""
    tables.metadata.create_all(connection, checkfirst=False)
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
        options = connection.get_execution_options()
        if options.get("immediate", False):
            if connection.info.get("synchronous") != options["synchronous"]:
                connection.exec_driver_sql(f"PRAGMA synchronous={options['synchronous']}")
                connection.info["synchronous"] = options["synchronous"]
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
