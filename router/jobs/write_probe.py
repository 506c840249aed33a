"""A probe whether the store can be written."""

import time
from threading import Lock

from router.jobs.database import Database

KNOWN_SECONDS = 3.0  # a result is valid for this long


class Probe:
    """The last result; one thread repeats the probe while others use that."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._lock = Lock()
        self._known: str | None = None
        self._until = 0.0

    def problem(self) -> str | None:
        """Return why the store cannot be written, or None."""
        if time.monotonic() < self._until or not self._lock.acquire(blocking=self._until == 0.0):
            return self._known
        try:
            self._known = self._db.problem()
            self._until = time.monotonic() + KNOWN_SECONDS
        finally:
            self._lock.release()
        return self._known
