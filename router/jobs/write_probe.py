"""Whether the store can be written, tried now and then by a write that changes nothing."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from threading import Lock

KNOWN_SECONDS = 3.0  # an answer holds for so long
PATIENCE_SECONDS = 5.0  # with others that write; longer than any of ours does


class Probe:
    """The store's last answer; one thread asks it anew while the others take that."""

    def __init__(self, path: Path) -> None:
        self._uri = f"{path.absolute().as_uri()}?mode=rw"
        self._lock = Lock()
        self._known: str | None = None
        self._until = 0.0

    def problem(self) -> str | None:
        """Say why the store cannot be written; None where it can."""
        if time.monotonic() < self._until or not self._lock.acquire(blocking=self._until == 0.0):
            return self._known
        try:
            self._known = self._try()
            self._until = time.monotonic() + KNOWN_SECONDS
        finally:
            self._lock.release()
        return self._known

    def _try(self) -> str | None:
        """Write as whoever starts now would: a disk stays writable for those who had opened their files before."""
        try:
            with closing(sqlite3.connect(self._uri, uri=True, timeout=PATIENCE_SECONDS, isolation_level=None)) as db:
                db.execute("UPDATE turns SET n = n")
        except sqlite3.Error as error:
            return str(error)
        return None
