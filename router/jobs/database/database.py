"""What each kind of database does for the stores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, RowMapping, Table, insert

from router.jobs.database.instant import Instant

Made = TypeVar("Made")


class Database(ABC):
    """A database, opened after fork; safe to use from many threads.

    `name` is for messages: it has no password. `is_shared` says that other machines may use it too.
    """

    is_shared: bool

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self._engine = engine

    @abstractmethod
    def read(self) -> Connection:
        """Return a connection for statements of which each is its own transaction."""

    def rows(self, query: Executable) -> Sequence[RowMapping]:
        with self.read() as connection:
            return connection.execute(query).mappings().all()

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Connection]:
        """Open a read transaction: all its statements see one state."""

    @abstractmethod
    def write(
        self, *, durable: bool = True, ordered: bool = True, announced: bool = True
    ) -> AbstractContextManager[Connection]:
        """Open a write transaction; without `durable` a power cut may undo it.

        Ordered transactions run one after the other, on all machines: what one reads, the others before it have
        written. A durable write waits for the disk: answers are durable, heartbeats are not. A durable write that is
        `announced` wakes at once the processes of other machines that follow the pulse.
        """

    def change(self, make: Callable[[Connection], Made], *, durable: bool = True) -> Made:
        """Run a small, freeing write; on a full disk it may use a reserve."""
        with self.write(durable=durable) as connection:
            return make(connection)

    def load(self, connection: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Insert many rows, each with all columns in order."""
        names = table.columns.keys()
        connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])

    @abstractmethod
    def instant(self, connection: Connection) -> Instant:
        """Return the time of leases; in a write transaction, that of its turn."""

    @abstractmethod
    def pulse(self) -> Callable[[], int]:
        """Return a function, for one thread, whose number changes with every commit.

        Its call sends no query. It raises nothing: a failed look counts as a change, and the next query raises the
        error. A shared store is looked at twice a second; of durable writes it tells at once.
        """

    @abstractmethod
    def exclusive(self, name: str) -> AbstractContextManager[Any]:
        """Hold a named lock among all processes of the store, for the block."""

    @abstractmethod
    def exclusive_if_free(self, name: str) -> AbstractContextManager[bool]:
        """Hold a named lock for the block if it is free; yield whether."""

    @abstractmethod
    def problem(self) -> str | None:
        """Try whether the store can be written; return why not, or None."""

    def scrub(self) -> None:
        """Overwrite copies of deleted rows, where the database's files can be reached."""
        return

    def keep_reserve(self) -> None:
        """Keep disk space for the end of jobs, where the disk is this machine's."""
        return

    def close(self) -> None:
        self._engine.dispose()
