"""Limits of queued jobs: in all, per model and per key."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select

from router.errors import LimitExceeded, QueueFull, RateLimited
from router.jobs.forecast import Span
from router.jobs.tables import jobs
from router.values import Status

UNKNOWN_SECONDS = 10  # until a job of a model without an engine starts
LONGEST_SECONDS = 60  # the SDKs give up on a longer retry-after
QUEUED = select(func.count()).where(jobs.c.status == Status.QUEUED)
OF_MODEL = QUEUED.where(jobs.c.model == bindparam("_model"))
OF_KEY = QUEUED.where(jobs.c.key == bindparam("_key"))
SEQS = select(jobs.c.seq).where(jobs.c.status == Status.QUEUED)


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
Forecast = Callable[[], Mapping[int, Span]]


def check(db: Connection, most: int, limits: QueueLimits, forecast: Forecast) -> None:
    """Raise `QueueFull`, or `RateLimited` at the key's own limit; write nothing.

    `forecast` says when the queued jobs will run, by `seq`; it is called before a refusal only.
    """
    if (in_all := _count(db, QUEUED)) + limits.adding > most:
        message = f"the queue holds {in_all} jobs, its limit is {most}{_beyond(limits, most)}; try again later"
        raise QueueFull(message, headers=_retry(db, SEQS, forecast))
    named = {"_model": limits.model, "_key": limits.key}
    if limits.of_model is not None and ((queued := _count(db, OF_MODEL, named)) + limits.adding > limits.of_model):
        brought = _beyond(limits, limits.of_model)
        what = f"{queued} jobs for {limits.model} are queued, its limit is {limits.of_model}"
        message = f"{what}{brought}; try again later"
        raise QueueFull(message, headers=_retry(db, SEQS.where(jobs.c.model == limits.model), forecast))
    if (
        limits.key
        and limits.of_key is not None
        and ((queued := _count(db, OF_KEY, named)) + limits.adding > limits.of_key)
    ):
        brought = _beyond(limits, limits.of_key)
        message = f"{queued} jobs of this key are queued, its limit is {limits.of_key}{brought}; try again later"
        raise RateLimited(message, headers=_retry(db, SEQS.where(jobs.c.key == limits.key), forecast))


def _beyond(limits: QueueLimits, limit: int) -> str:
    """Return the words for several new jobs; raise `LimitExceeded` if they never fit."""
    if limits.adding > limit:
        message = f"{limits.adding} images are as many jobs, and at most {limit} may be queued here"
        raise LimitExceeded(message, param=limits.param)
    return f", and this request brings {limits.adding}" if limits.adding > 1 else ""


def _count(db: Connection, statement: Any, named: Mapping[str, Any] | None = None) -> int:
    found: int = db.execute(statement, named or {}).scalar_one()
    return found


def _retry(db: Connection, which: Select[int], forecast: Forecast) -> tuple[tuple[str, str], ...]:
    """Return the `retry-after` header: whole seconds until the first such job starts."""
    spans = forecast()
    start = min((spans[seq].start for seq in db.scalars(which) if seq in spans), default=UNKNOWN_SECONDS)
    return (("retry-after", str(min(max(math.ceil(start), 1), LONGEST_SECONDS))),)
