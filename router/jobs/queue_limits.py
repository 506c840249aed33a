"""Limits of queued jobs: in all, per model and per key."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from router.errors import LimitExceeded, QueueFull, RateLimited
from router.jobs.rows import progress_of
from router.jobs.tables import jobs
from router.values import Status

UNKNOWN_SECONDS = 10  # of a retry without a running job to estimate from
LONGEST_SECONDS = 60  # the SDKs give up on a longer retry-after
QUEUED = select(func.count()).where(jobs.c.status == Status.QUEUED)
OF_MODEL = QUEUED.where(jobs.c.model == bindparam("_model"))
OF_KEY = QUEUED.where(jobs.c.key == bindparam("_key"))
FIRST = select(func.min(jobs.c.seq)).where(jobs.c.status == Status.QUEUED)
RUNNING = select(jobs.c.started_at, jobs.c.progress).where(jobs.c.status == Status.IN_PROGRESS)


@dataclass(frozen=True)
class QueueLimits:
    """The limits of the model and key of `adding` new jobs; None is unlimited."""

    model: str = ""
    of_model: int | None = None
    key: str | None = None
    of_key: int | None = None
    adding: int = 1
    param: str = ""  # the caller's name of `adding`


NO_LIMITS = QueueLimits()


def check(db: Connection, most: int, limits: QueueLimits) -> int:
    """Return the number of queued jobs; raise at a limit; write nothing.

    Raises `QueueFull`, or `RateLimited` at the key's own limit.
    """
    if (in_all := _count(db, QUEUED)) + limits.adding > most:
        message = f"the queue holds {in_all} jobs, its limit is {most}{_beyond(limits, most)}; try again later"
        raise QueueFull(message, headers=_retry(db))
    named = {"_model": limits.model, "_key": limits.key}
    if limits.of_model is not None and ((queued := _count(db, OF_MODEL, named)) + limits.adding > limits.of_model):
        brought = _beyond(limits, limits.of_model)
        what = f"{queued} jobs for {limits.model} are queued, its limit is {limits.of_model}"
        message = f"{what}{brought}; try again later"
        raise QueueFull(message, headers=_retry(db, jobs.c.model == limits.model))
    if (
        limits.key
        and limits.of_key is not None
        and ((queued := _count(db, OF_KEY, named)) + limits.adding > limits.of_key)
    ):
        brought = _beyond(limits, limits.of_key)
        message = f"{queued} jobs of this key are queued, its limit is {limits.of_key}{brought}; try again later"
        raise RateLimited(message, headers=_retry(db, jobs.c.key == limits.key))
    return in_all


def _beyond(limits: QueueLimits, limit: int) -> str:
    """Return the words for several new jobs; raise `LimitExceeded` if they never fit."""
    if limits.adding > limit:
        message = f"{limits.adding} images are as many jobs, and at most {limit} may be queued here"
        raise LimitExceeded(message, param=limits.param)
    return f", and this request brings {limits.adding}" if limits.adding > 1 else ""


def _count(db: Connection, statement: Any, named: Mapping[str, Any] | None = None) -> int:
    found: int = db.execute(statement, named or {}).scalar_one()
    return found


def _retry(db: Connection, which: ColumnElement[bool] | None = None) -> tuple[tuple[str, str], ...]:
    """Return the `retry-after` header: whole seconds until the first such job starts."""
    first = db.scalar(FIRST if which is None else FIRST.where(which)) or 0
    ahead = _count(db, QUEUED.where(jobs.c.seq < first))
    now = time.time()
    running = [_times(row, now) for row in db.execute(RUNNING).mappings()]
    return (("retry-after", str(_seconds(ahead, [known for known in running if known]))),)


def _seconds(ahead: int, running: list[tuple[float, float]]) -> int:
    """Return the seconds until a job with `ahead` jobs before it starts."""
    # `running` has the total and the remaining seconds of each running job
    if not running:
        return UNKNOWN_SECONDS
    soonest = min(left for _, left in running)
    each = sum(whole for whole, _ in running) / len(running) / len(running)
    return min(max(math.ceil(soonest + ahead * each), 1), LONGEST_SECONDS)


def _times(row: Mapping[Any, Any], now: float) -> tuple[float, float] | None:
    """Return a running job's estimated total and remaining seconds; None at its start."""
    progress = progress_of(row["progress"])
    if progress is None or not progress.percent or row["started_at"] is None:
        return None
    whole = max(now - row["started_at"], 0) * 100 / progress.percent
    return whole, whole * (100 - progress.percent) / 100
