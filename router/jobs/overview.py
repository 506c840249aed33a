"""The queue by model, the work of the last hours, and failed jobs."""

import time
from dataclasses import dataclass

from sqlalchemy import Float, bindparam, func, select, text, tuple_

from router.jobs.database import Database
from router.jobs.database.expressions import json_item, whole
from router.jobs.rows import job_of
from router.jobs.tables import jobs
from router.values import Job, Status

HOUR = 3600  # seconds
UNFINISHED = text("""
    SELECT model, count(*) FILTER (WHERE status = 'queued') AS queued,
        count(*) FILTER (WHERE status = 'in_progress') AS running,
        coalesce(sum(estimate) FILTER (WHERE status = 'queued'), 0.0) AS expected,
        count(*) FILTER (WHERE status = 'queued' AND estimate IS NULL) AS unknown,
        min(created_at) FILTER (WHERE status = 'queued') AS oldest
    FROM jobs WHERE status IN ('queued', 'in_progress') GROUP BY model ORDER BY model
""")
ENDED = (
    select(
        whole(jobs.c.finished_at / HOUR).label("hour"),
        jobs.c.status,
        func.count().label("jobs"),
        func.coalesce(func.sum(json_item(jobs.c.usage, "gpu_seconds", Float)), 0.0).label("gpu_seconds"),
    )
    .where(jobs.c.finished_at >= bindparam("since"))
    .group_by(text("1"), jobs.c.status)
)
FAILED = select(jobs).where(jobs.c.status == Status.FAILED)
NEWEST = (jobs.c.finished_at.desc(), jobs.c.seq.desc())


@dataclass(frozen=True)
class ModelQueue:
    """The unfinished jobs of a model.

    `expected` are the seconds of its queued jobs together, None where one has no estimate; `oldest` is the age of its
    oldest queued job in seconds.
    """

    model: str
    queued: int
    running: int
    expected: float | None
    oldest: float | None


@dataclass(frozen=True)
class Hour:
    """The jobs that ended in an hour; it begins `at` seconds since 1970."""

    at: int
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    gpu_seconds: float = 0.0


class Overview:
    """Sums and failures of all owners' jobs, without deleted ones."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def queue(self) -> tuple[ModelQueue, ...]:
        """Return the models with unfinished jobs, by name."""
        now = time.time()
        return tuple(
            ModelQueue(
                row["model"],
                row["queued"],
                row["running"],
                None if row["unknown"] else row["expected"],
                None if row["oldest"] is None else max(now - row["oldest"], 0.0),
            )
            for row in self._db.rows(UNFINISHED)
        )

    def hours(self, number: int) -> tuple[Hour, ...]:
        """Return the last hours (UTC) up to this one, the oldest first."""
        this = int(time.time() // HOUR)
        found: dict[int, dict[str, float]] = {hour: {} for hour in range(this - number + 1, this + 1)}
        with self._db.read() as db:
            rows = db.execute(ENDED, {"since": (this - number + 1) * HOUR}).mappings().all()
        for row in rows:
            if row["hour"] in found:  # not one of a clock that has gone back since
                found[row["hour"]][row["status"]] = row["jobs"]
                found[row["hour"]]["gpu_seconds"] = found[row["hour"]].get("gpu_seconds", 0.0) + row["gpu_seconds"]
        return tuple(Hour(hour * HOUR, **sums) for hour, sums in found.items())  # type: ignore[arg-type]

    def failed(self, after: str | None, limit: int) -> tuple[Job, ...] | None:
        """Return failed jobs, the last to end first; None for an unknown `after`."""
        page = FAILED.order_by(*NEWEST).limit(limit)
        with self._db.read() as db:
            if after is not None:
                last = db.execute(FAILED.where(jobs.c.id == after)).mappings().first()
                if last is None:
                    return None
                page = page.where(tuple_(jobs.c.finished_at, jobs.c.seq) < (last["finished_at"], last["seq"]))
            return tuple(map(job_of, db.execute(page).mappings()))
