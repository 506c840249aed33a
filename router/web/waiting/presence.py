"""Which jobs somebody waits for, in any web process on this data folder."""

from __future__ import annotations

import fcntl
import weakref
from collections import Counter
from pathlib import Path
from threading import Lock

from router.runtime.files import make_folder, private


class WaiterPresence:
    """A shared lock on one byte of a file for each job that this process waits for.

    The kernel drops the locks of a process that dies, so a job never has a waiter who is not there. Whoever
    leaves asks for the byte alone: of several who leave at once, the last is sure to get it.
    """

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
                self._change(fcntl.LOCK_SH, job_id)

    def leave(self, job_id: str) -> None:
        with self._lock:
            self._waiting[job_id] -= 1
            if self._waiting[job_id] == 0:
                del self._waiting[job_id]
                self._change(fcntl.LOCK_UN, job_id)

    def deserted(self, job_id: str) -> bool:
        """Say whether nobody waits for the job, here or in another process."""
        with self._lock:
            if self._waiting[job_id]:
                return False
            try:
                self._change(fcntl.LOCK_EX | fcntl.LOCK_NB, job_id)
            except OSError:
                return False
            self._change(fcntl.LOCK_UN, job_id)
            return True

    def _change(self, kind: int, job_id: str) -> None:
        fcntl.lockf(self._file, kind, 1, int(job_id[:15], 16))  # a file may end at 2^63 bytes
