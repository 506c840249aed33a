"""The queue positions and remaining times of queued jobs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, text

from router.jobs.rows import job_of
from router.runtime import clock
from router.values import Job, Status

BEFORE = """
    SELECT count(*) AS jobs, coalesce(sum(estimate), 0.0) AS seconds,
        count(*) FILTER (WHERE estimate IS NULL) AS unknown
    FROM jobs WHERE status = 'queued' AND (priority > :priority OR (priority = :priority AND seq < :seq))
"""
BEFORE_EACH = """
    SELECT seq, jobs, coalesce(seconds, 0.0) AS seconds, unknown FROM (
        SELECT seq, count(*) OVER before AS jobs, sum(estimate) OVER before AS seconds,
            count(*) FILTER (WHERE estimate IS NULL) OVER before AS unknown
        FROM jobs WHERE status = 'queued'
        WINDOW before AS (ORDER BY priority DESC, seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ) WHERE seq IN (SELECT value FROM json_each(:seqs))
"""
RUNNING = """
    SELECT count(*) AS jobs, coalesce(sum(remaining), 0.0) AS seconds,
        count(*) FILTER (WHERE remaining IS NULL) AS unknown,
        (SELECT count(*) FROM engines WHERE boot = :boot AND seen > :since) AS engines
    FROM (
        SELECT coalesce(json_extract(progress, '$.remaining'), estimate) AS remaining
        FROM jobs WHERE status = 'in_progress'
    )
"""


@dataclass(frozen=True)
class _Work:
    """Work of the queue: jobs, their estimated seconds, and jobs without an estimate."""

    jobs: int = 0
    seconds: float = 0.0
    unknown: int = 0

    def total(self, own: float) -> float:
        """Return the seconds of all jobs, with `own` for each unknown one."""
        return self.seconds + self.unknown * own


def positioned(db: Connection, row: RowMapping, seen_since: float) -> Job:
    """Return the job of a row, with position and remaining time if queued.

    Engines seen after `seen_since` count as alive.
    """
    if row["status"] != Status.QUEUED:
        return job_of(row)
    ahead = _Work(*db.execute(text(BEFORE), {"priority": row["priority"], "seq": row["seq"]}).one())
    if row["estimate"] is None:
        return job_of(row, ahead.jobs)
    return _with_time(row, ahead, *_running(db, seen_since))


def all_positioned(db: Connection, rows: Sequence[RowMapping], seen_since: float) -> tuple[Job, ...]:
    """Return the jobs of a page of rows, positioned with two statements."""
    waiting = [row["seq"] for row in rows if row["status"] == Status.QUEUED]
    if not waiting:
        return tuple(job_of(row) for row in rows)
    ahead = {seq: _Work(*work) for seq, *work in db.execute(text(BEFORE_EACH), {"seqs": json.dumps(waiting)})}
    running, engines = _running(db, seen_since)

    def job(row: RowMapping) -> Job:
        if row["status"] != Status.QUEUED:
            return job_of(row)
        before = ahead.get(row["seq"], _Work())  # claimed since the rows were read: no job is ahead
        return job_of(row, before.jobs) if row["estimate"] is None else _with_time(row, before, running, engines)

    return tuple(map(job, rows))


def _running(db: Connection, seen_since: float) -> tuple[_Work, int]:
    """Return the remaining work of running jobs and the number of engines."""
    found = db.execute(text(RUNNING), {"boot": clock.boot(), "since": seen_since}).one()
    return _Work(found.jobs, found.seconds, found.unknown), found.engines or 1


def _with_time(row: RowMapping, ahead: _Work, running: _Work, engines: int) -> Job:
    own = row["estimate"]
    return job_of(row, ahead.jobs, (ahead.total(own) + running.total(own)) / engines + own)
