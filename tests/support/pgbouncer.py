"""PgBouncer in front of a private PostgreSQL server."""

import signal
from collections.abc import Iterator

import pytest

from support.daemon import Daemon
from support.edge import need
from support.postgresql import Postgres, url_on

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user=framegate

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 1000
"""


class PgBouncer(Daemon):
    """PgBouncer in transaction mode, with `settings` of its configuration file."""

    def __init__(self, postgres: Postgres, **settings: object) -> None:
        self.program = need("pgbouncer")
        super().__init__("pgbouncer")
        text = CONFIGURATION.format(server=postgres.port, port=self.port)
        # after a failed login it waits 15 s by default, longer than a test likes to
        known = {"server_login_retry": 1, **settings}
        lines = "".join(f"{name} = {value}\n" for name, value in known.items())
        self.configuration = self.write("pgbouncer.ini", text + lines)

    def command(self) -> list[str]:
        return [self.program, str(self.configuration)]

    def stop(self) -> None:
        """Stop PgBouncer at once, whoever is connected."""
        self.end(signal.SIGQUIT)

    def url(self, database: str) -> str:
        """Return a database's address for SQLAlchemy."""
        return url_on(self.port, database)


@pytest.fixture(scope="session")
def pgbouncer(postgres: Postgres) -> Iterator[PgBouncer]:
    """Run this test process's PgBouncer."""
    server = PgBouncer(postgres)
    server.start()
    yield server
    server.close()


@pytest.fixture
def pgbouncer_url(pgbouncer: PgBouncer, postgres_url: str) -> str:
    """Return the address of a fresh database behind PgBouncer."""
    pgbouncer.start()  # the test before may have stopped it
    return pgbouncer.url(postgres_url.rpartition("/")[2])
