"""Jobs that have lost their engine: requeued, or failed at the limit of attempts."""

import time

from sqlalchemy import Connection, RowMapping

from router.errors import EngineLost, TimedOut
from router.jobs import statements as sql
from router.jobs.accounts import attempts
from router.jobs.change_log import change_job
from router.jobs.rows import dump
from router.values import Failure, Job, Phase


def take_back(db: Connection, found: RowMapping, *, max_attempts: int, hung: Phase | None) -> Job | None:
    """Requeue or fail a found job; None if its lease has changed.

    `found` is a row of `statements.LEASED`. The attempt is booked as lost.
    """
    this = {"_job": found["id"], "_attempt": found["attempt"], "_until": found["lease_until"]}
    engines = found["lost"] + 1
    if engines < max_attempts:
        job = change_job(db, sql.REQUEUE_LOST, **this)
    else:
        job = change_job(db, sql.FAIL_LOST, **this, _failure=_failure(engines, hung), _wall=time.time())
    if job is not None:
        attempts.lose(db, job.id, job.attempt)
    return job


def _failure(engines: int, hung: Phase | None) -> str:
    """Return the failure of a job that has lost too many engines."""
    what = f"hung in phase {hung} of this job and was replaced" if hung else "was lost while it ran this job"
    code = TimedOut.code if hung else EngineLost.code
    message = f"the engine {what}; engines lost so: {engines}, as many as a job may cost, so it is not tried again"
    return dump(Failure(code, message))
