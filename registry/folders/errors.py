"""The reader's error: a folder that cannot be served, with the reason."""

from __future__ import annotations

from pathlib import Path

from registry.text import printable


class FolderError(Exception):
    """A folder that cannot be served.

    `reason` names parts and files, never a path, so a caller may read it; `str()` puts the `path` in front and what
    else is only for the operator, the `detail`, behind. `missing` says that something has not arrived (yet), as after
    half a download.
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
