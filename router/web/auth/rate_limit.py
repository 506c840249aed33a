"""How often a key calls, counted by all web processes together and without the store."""

from __future__ import annotations

import os
import struct
from functools import cached_property
from pathlib import Path
from threading import Lock

from router.errors import is_disk_full
from router.runtime import locks

MINUTE = 60.0
_SLOT = struct.Struct("<d")


class Rates:
    """Eight bytes of a file for each key: when it will have its whole minute's worth of calls again.

    So a key of N a minute may call N times at once, and then once every 60 / N seconds. The instants are those of
    `router.runtime.clock`; one that cannot be, after a reboot or a power cut, counts as past.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()  # the kernel's locks are a process's, not a thread's

    def take(self, number: int, per_minute: int, now: float) -> float:
        """Count a call of the key `number` and return 0; or count none and return in how many seconds it may call."""
        place, each = number * _SLOT.size, MINUTE / per_minute
        with self._lock, locks.exclusive_bytes(self._file, place, _SLOT.size):
            whole_at = self._read(place)
            if not now <= whole_at <= now + MINUTE:
                whole_at = now
            if (wait := whole_at + each - (now + MINUTE)) > 1e-6:
                return wait
            self._write(place, whole_at + each)
            return 0.0

    @cached_property
    def _file(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _write(self, place: int, whole_at: float) -> None:
        """Note an instant; a call on a full disk is not counted, as it may be the one that frees room."""
        try:
            os.pwrite(self._file, _SLOT.pack(whole_at), place)
        except OSError as error:
            if not is_disk_full(error):
                raise

    def _read(self, place: int) -> float:
        data = os.pread(self._file, _SLOT.size, place)
        found: float = _SLOT.unpack(data)[0] if len(data) == _SLOT.size else 0.0
        return found
