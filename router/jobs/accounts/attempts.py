"""Open attempts: the work of each is booked in the ledger once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, text, update

from router.jobs.accounts.ledger import book
from router.jobs.database import Instant
from router.jobs.rows import dump
from router.jobs.tables import attempts, jobs
from router.values import Job, Outcome, Usage

JOINED_SECONDS = 1.0  # a heartbeat later than that after a claim names the claimed job
OPEN = insert(attempts)
THIS = and_(attempts.c.job == bindparam("_job"), attempts.c.attempt == bindparam("_attempt"))
REPORT = (
    update(attempts)
    .where(THIS)
    .values(began=func.coalesce(attempts.c.began, bindparam("_now")), reported_at=bindparam("_now"))
)
TAKE = (
    delete(attempts)
    .where(THIS)
    .returning(*(attempts.c[name] for name in ("job", "owner", "key", "model", "began", "reported_at", "price")))
)
USED = update(jobs).where(jobs.c.id == bindparam("_job")).values(usage=bindparam("_usage"))
# Of jobs that have ended or are gone, on engines that are gone or run another job: nobody else will book them.
ABANDONED = text("""
    SELECT open.job, open.attempt FROM attempts AS open
    WHERE NOT EXISTS (
        SELECT 1 FROM jobs WHERE id = open.job AND attempt = open.attempt AND status = 'in_progress'
    ) AND NOT EXISTS (
        SELECT 1 FROM engines WHERE id = open.engine AND boot = :boot AND seen > :since
            AND (engines.job = open.job OR seen < open.claimed_at + :joined)
    )
""")


@dataclass(frozen=True)
class OpenAttempt:
    """An attempt whose work is not booked.

    Its own work `began` and was last `reported_at` these seconds of its boot's clock; None while its model loads.
    """

    job: str
    owner: str
    key: str
    model: str
    began: float | None
    reported_at: float | None
    price: float | None

    @property
    def reported(self) -> Usage:
        """The seconds of its own work, up to its last report."""
        return Usage((self.reported_at or 0.0) - (self.began or 0.0))

    def priced(self, used: Usage) -> Usage:
        """Return the work with its cost, 0 without a price."""
        return replace(used, cost=used.gpu_seconds * (self.price or 0.0))

    def book(self, db: Connection, outcome: Outcome, used: Usage) -> None:
        """Add priced work to today's ledger, of a cancelled job to the job too."""
        book(db, self.owner, self.key, self.model, outcome, used)
        if outcome is Outcome.CANCELLED:
            db.execute(USED, {"_job": self.job, "_usage": dump(used)})


def claimed(db: Connection, job: Job, engine: str, this: Instant) -> None:
    """Open the attempt of a job that `engine` has claimed at `this` instant."""
    names = {name: getattr(job, name) for name in ("attempt", "owner", "model", "estimate", "price")}
    row = {**names, "job": job.id, "key": job.key or "", "engine": engine}
    db.execute(OPEN, {**row, "boot": this.boot, "claimed_at": this.now})


def report(db: Connection, job: str, attempt: int, this: Instant) -> None:
    """Note a report of an attempt's own work, which began by the first one."""
    db.execute(REPORT, {"_job": job, "_attempt": attempt, "_now": this.now})


def take(db: Connection, job: str, attempt: int) -> OpenAttempt | None:
    """Remove an open attempt and return it; None if it is booked already."""
    row = db.execute(TAKE, {"_job": job, "_attempt": attempt}).first()
    return OpenAttempt(*row) if row is not None else None


def cancel(db: Connection, job: str, attempt: int, used: Usage | None = None) -> None:
    """Book the work of a cancelled or deleted job, given without its cost.

    Without `used` it is the reported work: a hang after that costs the caller nothing.
    """
    if (cancelled := take(db, job, attempt)) is not None:
        cancelled.book(db, Outcome.CANCELLED, cancelled.priced(used or cancelled.reported))


def lose(db: Connection, job: str, attempt: int) -> None:
    """Book an attempt's reported work as lost, which costs its caller nothing."""
    if (lost := take(db, job, attempt)) is not None:
        lost.book(db, Outcome.LOST, lost.priced(lost.reported))


def abandoned(db: Connection, seen_since: Instant) -> list[tuple[str, int]]:
    """Return job and attempt of cancelled ones that no engine will book.

    Engines seen after `seen_since` count as alive.
    """
    asked = {"boot": seen_since.boot, "since": seen_since.now, "joined": JOINED_SECONDS}
    return [(row.job, row.attempt) for row in db.execute(ABANDONED, asked)]
