"""Bytes of the disk that are kept for the store, so that jobs can be ended where nothing else is free."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from router.files import private

SIZE = 2 * 2**20  # some fifty changes; from then on the store's log goes round in what it has
PLENTY = 4  # times the size must be free before it is taken


class Reserve:
    """A file of no content beside the store: it goes when the disk is full, and comes back when it is not."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self) -> None:
        """Make the file where it is missing and there is plenty of room."""
        if self._path.exists() or shutil.disk_usage(self._path.parent).free < PLENTY * SIZE:
            return
        try:
            with open(self._path, "wb", opener=private) as file:
                os.posix_fallocate(file.fileno(), 0, SIZE)
        except OSError:  # somebody else has taken the room meanwhile
            self.release()

    def release(self) -> None:
        """Give the bytes to whoever needs them now."""
        with suppress(OSError):  # there is none, or its disk is read-only
            self._path.unlink()
