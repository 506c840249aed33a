"""The machine of a store that others share, with a PostgreSQL server."""

from contextlib import suppress
from threading import Lock
from typing import Any

import psycopg

from support.namespaces import NETWORK, Namespace, Switch
from support.patience import until
from support.postgresql import Postgres

Row = tuple[Any, ...]


class Store:
    """The machine of the store; `server` is its PostgreSQL."""

    name, address = "store", f"{NETWORK}.2"

    def __init__(self, switch: Switch) -> None:
        self.lock = Lock()  # of its faults
        self._namespace = Namespace()
        switch.plug(self._namespace, self.name, self.address)
        self.server = Postgres(listen_addresses="*")
        with open(self.server.data / "pg_hba.conf", "a") as file:
            file.write(f"host all all {NETWORK}.0/24 trust\n")
        self.start()
        with self._namespace.inside():
            self.server.create("framegate")
        self.url = self.server.url("framegate").replace("127.0.0.1", self.address)

    def start(self) -> None:
        with self._namespace.inside():
            self.server.start()

    def stop(self) -> None:
        """End the server as if it was killed."""
        self.server.stop("immediate")

    def rows(self, sql: str) -> list[Row]:
        """Return the rows of a query, once the server answers and has tables."""

        def ask() -> list[list[Row]]:
            with suppress(psycopg.OperationalError, psycopg.errors.UndefinedTable), self._namespace.inside():
                return [self.server.psql(sql, "framegate")]
            return []

        return until(ask)[0]

    def completed(self) -> int:
        """Return the number of completed jobs."""
        return int(self.rows("SELECT count(*) FROM jobs WHERE status = 'completed'")[0][0])

    def now(self) -> float:
        """Return the time of leases."""
        return float(self.rows("SELECT extract(epoch FROM clock_timestamp())")[0][0])

    def close(self) -> None:
        self.server.close()
        self._namespace.kill()
