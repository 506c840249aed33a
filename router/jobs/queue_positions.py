"""Where queued jobs are in the queue, and how long until each is done: one statement for a page of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping

from router.jobs import statements as sql
from router.jobs.rows import job_of
from router.runtime import clock
from router.values import Job, Status


@dataclass(frozen=True)
class _Work:
    """A number of jobs: the seconds of those whose estimate is known, and how many have none."""

    jobs: int = 0
    seconds: float = 0.0
    unknown: int = 0

    def total(self, own: float) -> float:
        """Return the seconds of all, where each of the unknown takes as long as `own`."""
        return self.seconds + self.unknown * own


def positioned(db: Connection, row: RowMapping, seen_since: float) -> Job:
    """Return the job of a row, with its position and the time until it is done while it waits.

    An engine counts that was seen after `seen_since`.
    """
    if row["status"] != Status.QUEUED:
        return job_of(row)
    ahead = _Work(*db.execute(sql.AHEAD, {"_priority": row["priority"], "_seq": row["seq"]}).one())
    if row["estimate"] is None:
        return job_of(row, ahead.jobs)
    return _with_time(row, ahead, *_running(db, seen_since))


def all_positioned(db: Connection, rows: Sequence[RowMapping], seen_since: float) -> tuple[Job, ...]:
    """Return the jobs of rows as `positioned` does each, in two statements for all of them."""
    waiting = [row["seq"] for row in rows if row["status"] == Status.QUEUED]
    if not waiting:
        return tuple(job_of(row) for row in rows)
    ahead = {seq: _Work(*work) for seq, *work in db.execute(sql.ALL_AHEAD, {"_seqs": waiting})}
    running, engines = _running(db, seen_since)

    def job(row: RowMapping) -> Job:
        if row["status"] != Status.QUEUED:
            return job_of(row)
        before = ahead.get(row["seq"], _Work())  # claimed since the rows were read: nobody is ahead of it
        return job_of(row, before.jobs) if row["estimate"] is None else _with_time(row, before, running, engines)

    return tuple(map(job, rows))


def _running(db: Connection, seen_since: float) -> tuple[_Work, int]:
    """Return what the engines have to do still, and how many engines there are, at least one."""
    found = db.execute(sql.RUNNING_WORK, {"_boot": clock.boot(), "_since": seen_since}).one()
    return _Work(found.jobs, found.seconds, found.unknown), found.engines or 1


def _with_time(row: RowMapping, ahead: _Work, running: _Work, engines: int) -> Job:
    own = row["estimate"]
    return job_of(row, ahead.jobs, (ahead.total(own) + running.total(own)) / engines + own)
