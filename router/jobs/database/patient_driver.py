"""A connection to PostgreSQL that bounds the server's silence."""

import time
from collections.abc import Generator
from typing import Any

import psycopg

SILENCE_SECONDS = 10.0  # of a server, its disk or the network, in a statement that waits for no lock


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is lost after `silence` seconds without a byte.

    TCP notices a machine that is gone, but not a server that stands still.
    """

    silence = SILENCE_SECONDS

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        return super().wait(self._heard(gen), *args, **options)

    def _heard(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Drive `gen`, and close the connection after the longest silence."""
        try:
            wanted = next(gen)
            until = time.monotonic() + self.silence
            while True:
                if ready := (yield wanted):  # else some tenths of a second are over
                    until = time.monotonic() + self.silence
                elif time.monotonic() > until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server did not answer for {self.silence:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
