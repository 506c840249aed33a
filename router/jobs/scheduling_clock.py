"""The clock of the queue's order: seconds that never go back, also across reboots."""

from sqlalchemy import Connection, delete, func, insert, select

from router.jobs.database import Instant
from router.jobs.tables import jobs, scheduling_clock

NEWEST = select(func.max(jobs.c.arrived_at))


def arrival(db: Connection, this: Instant) -> float:
    """Return the time of a job that arrives in this write transaction.

    The transaction orders the arrivals of all processes.
    """
    shift, is_stored = _shift(db, this)
    if not is_stored:
        db.execute(delete(scheduling_clock))
        db.execute(insert(scheduling_clock).values(boot=this.boot, shift=shift))
    return this.now + shift


def current(db: Connection, this: Instant) -> float:
    """Return the time of a job that would arrive now; write nothing."""
    return this.now + _shift(db, this)[0]


def _shift(db: Connection, this: Instant) -> tuple[float, bool]:
    """Return the shift of this boot's clock, and whether it is stored."""
    known = db.execute(select(scheduling_clock)).first()
    if known is not None and known.boot == this.boot:
        return float(known.shift), True
    # the clock of leases begins again at a reboot: go on from the latest arrival
    return max((db.scalar(NEWEST) or 0.0) - this.now, 0.0), False
