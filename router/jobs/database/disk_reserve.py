"""A disk reserve: ends jobs on a full disk."""

import ctypes
import os
import shutil
from contextlib import suppress
from pathlib import Path

from router.runtime.files import private

SIZE = 2 * 2**20
LOG_SIZE = SIZE // 2  # the store's log begins anew at this size; the other half is for what the store grows by
MARGIN = SIZE // 8  # the log is longer by its last transaction
PLENTY = 4  # times the size must be free before it is taken
FALLOC_FL_KEEP_SIZE = 1


class Reserve:
    """A file beside the store without content: released on a full disk, recreated later."""

    def __init__(self, store: Path) -> None:
        self._path = store.with_name("reserve")
        self._log = store.with_name(f"{store.name}-wal")

    def keep(self) -> None:
        """Create the file if it is missing and the disk has plenty of space."""
        if self._is_kept() or shutil.disk_usage(self._path.parent).free < PLENTY * SIZE:
            return
        try:
            with open(self._path, "wb", opener=private) as file:
                os.posix_fallocate(file.fileno(), 0, SIZE)
        except OSError:  # the free space has just been used
            self._path.unlink(missing_ok=True)

    def release(self) -> bool:
        """Give the file's bytes to the store's log; return whether the file existed."""
        was_kept = self._path.exists()
        with suppress(OSError):  # there is no log yet, or its disk is read-only
            self._path.unlink(missing_ok=True)
            with open(self._log, "r+b") as log:
                # beyond its end, which SQLite does not see; a file system that cannot leaves it to chance
                start, size = ctypes.c_int64(0), ctypes.c_int64(LOG_SIZE + MARGIN)
                ctypes.CDLL(None).fallocate(log.fileno(), FALLOC_FL_KEEP_SIZE, start, size)
        return was_kept

    def _is_kept(self) -> bool:
        # a process killed while it creates the file leaves an empty one
        try:
            return self._path.stat().st_size >= SIZE
        except FileNotFoundError:
            return False
