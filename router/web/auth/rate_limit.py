"""The rate limits of keys, for all web processes of a store."""

import os
import struct
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from router.errors import is_disk_full
from router.jobs import RateStore
from router.runtime import locks
from router.system import System

MINUTE = 60.0
INSTANT = struct.Struct("<d")


class RateLimit(Protocol):
    """A count of the calls of keys."""

    def count(self, number: int, per_minute: int, now: float) -> float:
        """Count a call of key `number` and return 0, or the seconds to wait."""
        ...


class SharedRateLimit:
    """Counts calls of one kind in a shared store, by its clock."""

    def __init__(self, store: RateStore, kind: str) -> None:
        self._store = store
        self._kind = kind

    def count(self, number: int, per_minute: int, now: float) -> float:
        try:
            return self._store.count(self._kind, number, per_minute)
        except SQLAlchemyError as error:
            if not is_disk_full(error):  # uncounted on a full disk: the call may be the one that frees space
                raise
            return 0.0


class LocalRateLimit:
    """Counts calls in a file: the instant when all are free, per key.

    A key of N calls a minute may call N times at once, and then once every 60 / N seconds. Instants are those of
    `router.runtime.clock`; an impossible one, left by a reboot or a power cut, counts as past.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()  # the kernel's locks are a process's, not a thread's

    def count(self, number: int, per_minute: int, now: float) -> float:
        at, interval = number * INSTANT.size, MINUTE / per_minute
        with self._lock, locks.exclusive_bytes(self._file, at, INSTANT.size):
            data = os.pread(self._file, INSTANT.size, at)
            free_at: float = INSTANT.unpack(data)[0] if len(data) == INSTANT.size else 0.0
            if not now <= free_at <= now + MINUTE:
                free_at = now
            if (wait := free_at + interval - (now + MINUTE)) > 1e-6:
                return wait
            try:
                os.pwrite(self._file, INSTANT.pack(free_at + interval), at)
            except OSError as error:
                if not is_disk_full(error):  # uncounted on a full disk: the call may be the one that frees space
                    raise
            return 0.0

    @cached_property
    def _file(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def rate_limits(system: System) -> tuple[RateLimit, RateLimit]:
    """Return the limits of calls, and of calls that ask for an estimate."""
    if system.database.is_shared:
        store = RateStore(system.database)
        return SharedRateLimit(store, "calls"), SharedRateLimit(store, "estimates")
    data = system.settings.data
    return LocalRateLimit(data / "rates"), LocalRateLimit(data / "rates.estimates")
