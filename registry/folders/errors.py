"""The reader's one error: a folder that cannot be served, and why."""

from __future__ import annotations

from pathlib import Path


class FolderError(Exception):
    """A folder that cannot be served as it is.

    `reason` names parts and files, never a path, so a caller may read it; `str()` puts the `path` in front, for
    the operator. `missing` says that something has not arrived (yet), as after half a download.
    """

    def __init__(self, reason: str, path: Path, *, missing: bool = False) -> None:
        self.reason = reason
        self.path = path
        self.missing = missing
        super().__init__(f"{path}: {reason}")
