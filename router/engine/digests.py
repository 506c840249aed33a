"""Digests of files, each computed once and remembered."""

import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path
from threading import Lock

from registry.folders.files import stamp
from router.runtime import locks
from router.runtime.files import write_file

Entry = tuple[tuple[int, ...], str]  # a file's stamp, and its digest
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Digests:
    """SHA-256 of files, remembered in `file` or in memory.

    A digest holds until the file is changed or replaced: by its size, its times and its inode, as a copy may have the
    time of its original. The hub's cache names large files by their digests, which
    are taken from the names.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, Entry] = {}
        self._lock = Lock()

    def of(self, path: Path) -> str:
        real = path.resolve()
        if real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
            return real.name
        now = stamp(real)
        with self._lock:
            if str(real) not in self._known:
                self._known |= self._read()
            known = self._known.get(str(real))
        if known is not None and known[0] == now:
            return known[1]
        with real.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        # a disk that is full or read-only: it is computed again another time
        with self._lock, suppress(OSError):
            self._known[str(real)] = now, found
            if self._file is not None:
                self._write(self._file, {str(real): self._known[str(real)]})
        return found

    def _write(self, file: Path, new: dict[str, Entry]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with locks.exclusive(file.with_suffix(".lock")):  # other engines write to it, too
            # not durable: after a power cut the digests are computed again
            write_file(file, json.dumps(self._read() | new).encode())

    def _read(self) -> dict[str, Entry]:
        try:
            entries = json.loads(self._file.read_text()) if self._file is not None else {}
            return {path: (tuple(map(int, seen)), str(found)) for path, (seen, found) in entries.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
