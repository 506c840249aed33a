"""The presence of waiting requests, for all processes of a store."""

import logging
import time
import uuid
import weakref
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from threading import Lock

from sqlalchemy.exc import SQLAlchemyError

from router.errors import reason
from router.jobs import WaiterStore
from router.runtime import locks
from router.runtime.files import make_folder, private

RENEW_SECONDS = 5.0
log = logging.getLogger(__name__)


class Presence(ABC):
    """Counts this process's waiting requests per job, and tells the other processes.

    `is_final` says that a dead process has no waiters at once: nobody needs to look again for its end.
    """

    is_final: bool

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._lock = Lock()

    @abstractmethod
    def enter(self, job_id: str) -> None: ...

    @abstractmethod
    def leave(self, job_id: str) -> None: ...

    @abstractmethod
    def is_empty(self, job_id: str) -> bool:
        """Say whether no request waits for the job, here or in another process."""

    @property
    def needs_renewal(self) -> bool:
        """Whether `renew` must be called every moment."""
        return False

    def renew(self) -> None:
        """Renew this process's waiters, if that is due; call it often."""
        return

    def is_here(self, job_id: str) -> bool:
        """Say whether a request of this process waits for the job."""
        return self._waiting[job_id] > 0

    def _begins(self, job_id: str) -> bool:
        """Count a waiter; return whether it is the job's first one here."""
        self._waiting[job_id] += 1
        return self._waiting[job_id] == 1

    def _ends(self, job_id: str) -> bool:
        """Count a waiter less; return whether it was the job's last one here."""
        self._waiting[job_id] -= 1
        if self._waiting[job_id]:
            return False
        del self._waiting[job_id]
        return True


class LocalPresence(Presence):
    """A shared lock on one byte of a file for each awaited job."""

    # the kernel drops the locks of a process that dies, so no job keeps a waiter that is gone

    is_final = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        make_folder(path.parent)
        self._file = open(path, "a+b", opener=private)  # noqa: SIM115 - closing it would drop the locks
        weakref.finalize(self, self._file.close)

    def enter(self, job_id: str) -> None:
        with self._lock:
            if self._begins(job_id):
                locks.share_byte(self._file.fileno(), _byte(job_id))

    def leave(self, job_id: str) -> None:
        with self._lock:
            if self._ends(job_id):
                locks.release_byte(self._file.fileno(), _byte(job_id))

    def is_empty(self, job_id: str) -> bool:
        with self._lock:
            return not self.is_here(job_id) and locks.is_byte_free(self._file.fileno(), _byte(job_id))


def _byte(job_id: str) -> int:
    return int(job_id[:15], 16)  # a file may end at 2^63 bytes


class SharedPresence(Presence):
    """A row for each awaited job, valid while its process renews it."""

    # A failed write is only logged: the next renewal writes every missing row, and a row that is not renewed expires.

    is_final = False

    def __init__(self, store: WaiterStore) -> None:
        super().__init__()
        self._store = store
        self._process = uuid.uuid4().hex
        self._renewed_at = time.monotonic()

    def enter(self, job_id: str) -> None:
        with self._lock:
            is_first = self._begins(job_id)
        if is_first:
            self._tell(job_id)

    def leave(self, job_id: str) -> None:
        with self._lock:
            is_last = self._ends(job_id)
        if is_last:
            self._tell(job_id)

    def _tell(self, job_id: str) -> None:
        """Write or delete the row, until it is right."""
        # the lock is not held: a waiter may come while the row of the last one is deleted
        told = None
        try:
            while told != (is_here := self.is_here(job_id)):
                (self._store.enter if is_here else self._store.leave)(job_id, self._process)
                told = is_here
        except SQLAlchemyError as error:
            log.warning("other machines do not know yet whether a client waits for job %s: %s", job_id, reason(error))

    def is_empty(self, job_id: str) -> bool:
        return not self.is_here(job_id) and not self._store.has_others(job_id, self._process)

    @property
    def needs_renewal(self) -> bool:
        return bool(self._waiting)

    def renew(self) -> None:
        if time.monotonic() - self._renewed_at < RENEW_SECONDS:
            return
        self._renewed_at = time.monotonic()
        with self._lock:
            jobs = frozenset(self._waiting)
        if jobs:
            try:
                self._store.renew(self._process, jobs)
            except SQLAlchemyError as error:
                log.warning("the waiters of this process could not be renewed in the store: %s", reason(error))
