"""The disk of the data folder: how much of it is free, and whether that is enough for new jobs."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from router.errors import Unavailable
from router.runtime.byte_size import ByteSize, format_bytes

KNOWN_SECONDS = 1.0  # an answer of the file system holds for so long
RETRY = (("retry-after", "30"),)


class Disk:
    """The free bytes of a folder's disk; below `least`, which may be a share of it, no job is taken."""

    def __init__(self, folder: Path, least: ByteSize) -> None:
        self._folder = folder
        self._least = least
        self._known = (0, 0)
        self._until = 0.0

    @property
    def free(self) -> int:
        """The bytes that are free, at most a second ago; 0 where the disk does not answer."""
        try:
            return self._look()[1]
        except OSError:
            return 0

    def shortage(self) -> str | None:
        """Say what is free and what was needed, where that is less; None where it is enough."""
        try:
            total, free = self._look()
        except OSError as error:  # it is not mounted any more, or broken
            return f"the disk does not answer: {error.strerror or error}"
        least = self._least.of(total)
        return (
            f"{format_bytes(free)} of the disk are free, FRAMEGATE_MIN_FREE is {format_bytes(least)}"
            if free < least
            else None
        )

    def require(self) -> None:
        """Raise `Unavailable` where too little is free to take a job."""
        if self.shortage():
            raise Unavailable("the server's disk is full; try again later", code="disk_full", headers=RETRY)

    def _look(self) -> tuple[int, int]:
        """Return the size of the disk and what is free."""
        if time.monotonic() >= self._until:
            usage = shutil.disk_usage(self._folder)
            self._known, self._until = (usage.total, usage.free), time.monotonic() + KNOWN_SECONDS
        return self._known
