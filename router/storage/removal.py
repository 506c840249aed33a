"""Remove a job's row and its files, so that a crash in between leaves only what the sweeper takes."""

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
    """Remove a job, its `row` first: what is left of it if we die in between is an orphan.

    Where the disk is too full even for that, its files go first, if that is `allowed`, and make room for the row:
    a row that stays behind is of a job whose files are gone, which nobody is served, and which the sweeper takes.
    """
    try:
        removed = row()
    except SQLAlchemyError as error:
        if not (is_disk_full(error) and allowed()):
            raise
        artifacts.delete(job_id)
        removed = row()
    if removed:
        artifacts.delete(job_id)
    return removed
