"""The reader's error: a folder that cannot be served, with the reason."""

from __future__ import annotations

from pathlib import Path

from registry.text import printable


class FolderError(Exception):
    """A folder that cannot be served.

    Callers may read `reason`: it names parts and files, never a path. `str()` adds the `path` and the `detail` for
    the operator. `missing` marks files that may still arrive, as during a download.
    """

    def __init__(self, reason: str, path: Path, *, missing: bool = False, detail: str = "") -> None:
        self.reason = printable(reason)
        self.path = path
        self.missing = missing
        self.detail = detail
        super().__init__(printable(f"{path}: {reason}{detail}"))

    def again(self) -> FolderError:
        """Return a copy without its traceback, which would keep whole files in memory."""
        return FolderError(self.reason, self.path, missing=self.missing, detail=self.detail)
