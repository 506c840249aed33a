"""The queue positions and remaining times of queued jobs."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, RowMapping, bindparam, text

from router.jobs.queue_forecast import QueueForecast
from router.jobs.rows import job_of
from router.values import Job, Status

AHEAD = text("""
    SELECT count(*) FROM jobs WHERE status = 'queued'
    AND (priority > :priority OR (priority = :priority AND (due_at, seq) < (:due_at, :seq)))
""")
AHEAD_OF_EACH = text("""
    SELECT seq, jobs FROM (
        SELECT seq, row_number() OVER (ORDER BY priority DESC, due_at, seq) - 1 AS jobs
        FROM jobs WHERE status = 'queued'
    ) AS waiting WHERE seq IN :seqs
""").bindparams(bindparam("seqs", expanding=True))


def positioned(db: Connection, row: RowMapping, forecast: QueueForecast) -> Job:
    """Return the job of a queued row, with position and remaining time.

    A job of a spent budget has a warning and no remaining time.
    """
    this = {name: row[name] for name in ("priority", "due_at", "seq")}
    return _expected(row, db.execute(AHEAD, this).scalar_one(), forecast)


def all_positioned(db: Connection, rows: Sequence[RowMapping], forecast: QueueForecast) -> tuple[Job, ...]:
    """Return the jobs of a page of rows, queued ones positioned with one statement."""
    waiting = [row["seq"] for row in rows if row["status"] == Status.QUEUED]
    ahead = {row.seq: row.jobs for row in db.execute(AHEAD_OF_EACH, {"seqs": waiting})}
    # a job that was claimed since the rows were read has none ahead
    return tuple(
        _expected(row, ahead.get(row["seq"], 0), forecast) if row["status"] == Status.QUEUED else job_of(row)
        for row in rows
    )


def _expected(row: RowMapping, ahead: int, forecast: QueueForecast) -> Job:
    span, held_back = (
        forecast.spans.get(row["seq"]),
        forecast.held_back.get(row["seq"]),
    )  # none for a model without an engine, and for a while in a long queue
    job = job_of(row, ahead, None if span is None or row["estimate"] is None else span.end)
    return replace(job, warnings=(*job.warnings, held_back)) if held_back else job
