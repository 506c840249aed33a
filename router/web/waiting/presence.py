"""Jobs with waiting requests in any web process of a data folder."""

from __future__ import annotations

import weakref
from collections import Counter
from pathlib import Path
from threading import Lock

from router.runtime import locks
from router.runtime.files import make_folder, private


class WaiterPresence:
    """A shared lock on one byte of a file for each awaited job."""

    # the kernel drops the locks of a process that dies, so no job keeps a waiter that is gone

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._file = open(path, "a+b", opener=private)  # noqa: SIM115 - closing it would drop the locks
        weakref.finalize(self, self._file.close)
        self._waiting: Counter[str] = Counter()
        self._lock = Lock()

    def enter(self, job_id: str) -> None:
        with self._lock:
            self._waiting[job_id] += 1
            if self._waiting[job_id] == 1:
                locks.share_byte(self._file.fileno(), _byte(job_id))

    def leave(self, job_id: str) -> None:
        with self._lock:
            self._waiting[job_id] -= 1
            if self._waiting[job_id] == 0:
                del self._waiting[job_id]
                locks.release_byte(self._file.fileno(), _byte(job_id))

    def is_empty(self, job_id: str) -> bool:
        """Say whether no request waits for the job, here or in another process."""
        with self._lock:
            return not self._waiting[job_id] and locks.is_byte_free(self._file.fileno(), _byte(job_id))


def _byte(job_id: str) -> int:
    return int(job_id[:15], 16)  # a file may end at 2^63 bytes
