"""Free space on the data folder's disk, and its lower limit for new jobs."""

import shutil
import time
from pathlib import Path

from router.errors import Unavailable
from router.runtime.byte_size import ByteSize, format_bytes

CACHE_SECONDS = 1.0  # of a file system's answer
RETRY = (("retry-after", "30"),)


class Disk:
    """The free bytes of a folder's disk; below `min_free` no job is accepted."""

    def __init__(self, folder: Path, min_free: ByteSize) -> None:
        self._folder = folder
        self._min_free = min_free
        self._cached = (0, 0)  # total and free bytes
        self._expires_at = 0.0

    @property
    def free(self) -> int:
        """The free bytes, at most a second ago; 0 for a broken disk."""
        try:
            return self._usage()[1]
        except OSError:
            return 0

    def shortage(self) -> str | None:
        """Describe a shortage of free space; None without one."""
        try:
            total, free = self._usage()
        except OSError as error:  # no longer mounted, or broken
            return f"the disk does not answer: {error.strerror or error}"
        if free >= (min_free := self._min_free.of(total)):
            return None
        return f"{format_bytes(free)} of the disk are free, FRAMEGATE_MIN_FREE is {format_bytes(min_free)}"

    def require(self) -> None:
        if self.shortage():
            raise Unavailable("the server's disk is full; try again later", code="disk_full", headers=RETRY)

    def _usage(self) -> tuple[int, int]:
        if time.monotonic() >= self._expires_at:
            usage = shutil.disk_usage(self._folder)
            self._cached, self._expires_at = (usage.total, usage.free), time.monotonic() + CACHE_SECONDS
        return self._cached
