"""One change of a job: the row, and the line in the log of changes by which others learn of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Executable, RowMapping

from router.jobs import statements as sql
from router.jobs.rows import job_of
from router.values import Job


def changed(db: Connection, statement: Executable, **parameters: Any) -> Job | None:
    """Change one row if it still fits, and log that; return the job as it then is, or None."""
    row = db.execute(statement, parameters).mappings().first()
    if row is None:
        return None
    log(db, row["version"], row["id"])
    return job_of(row)


def log(db: Connection, number: int, job_id: str, deleted: RowMapping | None = None) -> None:
    """Say that a job has changed; of one that was deleted, also where it stood and whose it was."""
    gone = {} if deleted is None else {"seq": deleted["seq"], "owner": deleted["owner"]}
    db.execute(sql.LOG, {"n": number, "job": job_id, "seq": None, "owner": None, **gone})
