"""Removal of a job's row and files, safe against a crash in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from router.errors import is_disk_full
from router.storage.artifacts import ArtifactStore

Removed = TypeVar("Removed")


def remove(
    artifacts: ArtifactStore, job_id: str, row: Callable[[], Removed], *, allowed: Callable[[], bool]
) -> Removed:
    """Remove a job's row, then its files; return what `row` returns.

    On a disk too full to remove the row the files go first, if that is `allowed`.
    """
    try:
        removed = row()  # after a crash here the files are orphans, which the sweeper removes
    except SQLAlchemyError as error:
        if not (is_disk_full(error) and allowed()):
            raise
        artifacts.delete(job_id)  # after a crash here the row is not served, and the sweeper removes it
        removed = row()
    if removed:
        artifacts.delete(job_id)
    return removed
