"""Private PostgreSQL servers, and a fresh database for each test."""

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from support.daemon import Daemon
from support.edge import need

BINARIES = "FRAMEGATE_TEST_POSTGRES"  # the folder of another version's programs
DEBIAN = Path("/usr/lib/postgresql")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": 200,
    "shared_buffers": "32MB",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    # a killed server loses nothing by these, a machine without power would
    "fsync": "off",
    "full_page_writes": "off",
}
SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class Postgres(Daemon):
    """A PostgreSQL server of one superuser `framegate`, with `settings` of its configuration file."""

    def __init__(self, parent: Path | None = None, **settings: object) -> None:
        self.binaries = binaries()
        super().__init__("postgresql", parent)
        self.data = self.folder / "data"
        locale = ("--encoding=UTF8", "--locale=C.UTF-8")
        files = (f"--pgdata={self.data}", "--no-sync", "--no-instructions")
        self.run(str(self.binaries / "initdb"), "--auth=trust", "--username=framegate", *locale, *files)
        known = {**SETTINGS, "port": self.port, "unix_socket_directories": self.folder, **settings}
        with open(self.data / "postgresql.conf", "a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in known.items())

    def command(self) -> list[str]:
        return [str(self.binaries / "postgres"), "-D", str(self.data)]

    def accepts(self) -> bool:
        try:
            return self.psql("SELECT true") == [(True,)]
        except psycopg.OperationalError:
            return False

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server: it disconnects its clients first (`fast`), or ends as if killed."""
        self.end(SIGNALS[mode])

    def url(self, database: str) -> str:
        """Return a database's address for SQLAlchemy."""
        return url_on(self.port, database)

    def create(self, name: str, template: str = "template0") -> str:
        """Create a copy of a database, usually an empty one, and return its address."""
        # half the time of wal_log, since a checkpoint without fsync is quick
        statement = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self._execute(statement.format(Identifier(name), Identifier(template)))
        return self.url(name)

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self._execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))

    @contextmanager
    def fresh(self, template: str = "template0") -> Iterator[str]:
        """Yield the address of a new database, dropped after the block."""
        self.start()  # the test before may have stopped it
        name = f"test_{uuid.uuid4().hex}"
        try:
            yield self.create(name, template)
        finally:
            self.start()
            self.drop(name)

    def psql(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement by itself and return its rows."""
        return self._execute(sql.encode(), database)

    def _execute(self, statement: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        address = self.url(database).replace("+psycopg", "")
        with closing(psycopg.connect(address, autocommit=True)) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


def url_on(port: int, database: str) -> str:
    """Return the address of a database on a port, for SQLAlchemy."""
    return f"postgresql+psycopg://framegate@127.0.0.1:{port}/{database}"


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs: the named one, PATH's, or Debian's newest."""
    debian = sorted(DEBIAN.glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    path = os.environ.get(BINARIES) or os.pathsep.join((os.environ["PATH"], *map(str, debian)))
    return Path(need("initdb", "postgresql", path)).resolve().parent  # postgres may be missing in PATH


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Run this test process's server."""
    server = Postgres()
    server.start()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """Return the address of a fresh database."""
    with postgres.fresh() as url:
        yield url
