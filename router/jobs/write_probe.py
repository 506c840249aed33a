"""A probe whether the store can be written."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from threading import Lock

KNOWN_SECONDS = 3.0  # a result is valid for this long
BUSY_SECONDS = 5.0  # wait for other writers; longer than any write of ours


class Probe:
    """The last result; one thread repeats the probe while others use that."""

    def __init__(self, path: Path) -> None:
        self._uri = f"{path.absolute().as_uri()}?mode=rw"
        self._lock = Lock()
        self._known: str | None = None
        self._until = 0.0

    def problem(self) -> str | None:
        """Return why the store cannot be written, or None."""
        if time.monotonic() < self._until or not self._lock.acquire(blocking=self._until == 0.0):
            return self._known
        try:
            self._known = self._try()
            self._until = time.monotonic() + KNOWN_SECONDS
        finally:
            self._lock.release()
        return self._known

    def _try(self) -> str | None:
        """Open the store anew and write without a change."""
        # open files stay writable on a disk that has become read-only
        try:
            with closing(sqlite3.connect(self._uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as db:
                db.execute("UPDATE alembic_version SET version_num = version_num")  # its one row
        except sqlite3.Error as error:
            return str(error)
        return None
