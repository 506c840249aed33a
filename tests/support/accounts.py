"""Rows of the ledger and of attempts, as ended and running jobs leave them."""

from sqlalchemy import insert

from router.jobs.database import Database
from router.jobs.tables import attempts, ledger


def book(
    database: Database, day: str, gpu_seconds: float, *, owner: str = "me", key: str = "", cost: float = 0.0,
    outcome: str = "completed", model: str = "m",
) -> None:  # fmt: skip
    """Book the work of an ended attempt."""
    names = {"day": day, "owner": owner, "key": key, "model": model, "outcome": outcome}
    sums = {"attempts": 1, "gpu_seconds": gpu_seconds, "steps": 0, "frames": 0, "pixels": 0, "cost": cost}
    with database.write() as db:
        db.execute(insert(ledger).values(**names, **sums))


def run(
    database: Database, job: str, estimate: float | None, elapsed: float | None = 0.0, *, owner: str = "me", key: str = "",
    price: float | None = None, boot: str | None = None,
) -> None:  # fmt: skip
    """Open an attempt whose work began `elapsed` seconds ago, None while its model loads."""
    row = {"job": job, "attempt": 1, "engine": "e", "owner": owner, "key": key, "model": "m"}
    with database.write() as db:
        this = database.instant(db)
        row |= {"boot": boot or this.boot, "claimed_at": this.now - 1000, "estimate": estimate, "price": price}
        row["began"] = None if elapsed is None else this.now - elapsed
        db.execute(insert(attempts).values(**row))


def end_attempts(database: Database) -> None:
    with database.write() as db:
        db.execute(attempts.delete())
