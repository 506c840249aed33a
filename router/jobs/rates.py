"""The calls of keys, counted for all machines of a shared store."""

from sqlalchemy import case, select

from router.jobs.database import Database
from router.jobs.database.expressions import insert
from router.jobs.tables import rates

MINUTE = 60.0
GRAIN = 1e-6  # seconds: a caller who comes when told to is let in, whatever the rounding


class RateStore:
    """Counts the calls of each key: the instant when all are free.

    A key of N calls a minute may call N times at once, and then once every 60 / N seconds. An impossible instant
    counts as past.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def count(self, kind: str, number: int, per_minute: int) -> float:
        """Count a call of key `number` and return 0, or the seconds to wait."""
        interval = MINUTE / per_minute
        this = (rates.c.kind == kind) & (rates.c.number == number)
        # the row's lock orders the calls of a key: those of others need not wait
        with self._db.write(durable=False, ordered=False) as db:
            now = self._db.instant(db).now
            begin = case((rates.c.free_at.between(now, now + MINUTE), rates.c.free_at), else_=now)
            counted = (
                insert(rates)
                .values(kind=kind, number=number, free_at=now + interval)
                .on_conflict_do_update(
                    index_elements=[rates.c.number, rates.c.kind],
                    set_={"free_at": begin + interval},
                    where=begin + interval <= now + MINUTE + GRAIN,
                )
                .returning(rates.c.free_at)
            )
            if db.execute(counted).first() is not None:
                return 0.0
            free_at: float = db.execute(select(rates.c.free_at).where(this)).scalar_one()
            return max(free_at + interval - (now + MINUTE), GRAIN)
