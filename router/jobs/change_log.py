"""Changes of a job, each with its entry in the change log."""

from typing import Any

from sqlalchemy import Connection, Executable, RowMapping

from router.jobs import statements as sql
from router.jobs.rows import job_of
from router.values import Job


def change_job(db: Connection, statement: Executable, **parameters: Any) -> Job | None:
    """Run a conditional update of one job and log it; return the job."""
    row = db.execute(statement, parameters).mappings().first()
    if row is None:
        return None
    log_change(db, row["version"], row["id"])
    return job_of(row)


def delete_job(db: Connection, statement: Executable, **parameters: Any) -> RowMapping | None:
    """Run a conditional deletion of one job and log it; return its row."""
    row = db.execute(statement, parameters).mappings().first()
    if row is not None:
        number = db.execute(sql.NEWEST).scalar_one() + 1
        db.execute(sql.LOG, {"n": number, "job": row["id"], "seq": row["seq"], "owner": row["owner"]})
    return row


def log_change(db: Connection, number: int, job_id: str) -> None:
    db.execute(sql.LOG, {"n": number, "job": job_id, "seq": None, "owner": None})
