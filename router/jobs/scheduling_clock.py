"""The clock of the queue's order: seconds that never go back, also across reboots."""

from sqlalchemy import Connection, delete, func, insert, select

from router.jobs.tables import jobs, scheduling_clock
from router.runtime import clock

NEWEST = select(func.max(jobs.c.arrived_at))


def arrival(db: Connection) -> float:
    """Return the time of a job that arrives in this write transaction.

    The transaction orders the arrivals of all processes.
    """
    shift, is_stored = _shift(db)
    if not is_stored:
        db.execute(delete(scheduling_clock))
        db.execute(insert(scheduling_clock).values(boot=clock.boot(), shift=shift))
    return clock.now() + shift


def current(db: Connection) -> float:
    """Return the time of a job that would arrive now; write nothing."""
    return clock.now() + _shift(db)[0]


def _shift(db: Connection) -> tuple[float, bool]:
    """Return the shift of this boot's clock, and whether it is stored."""
    known = db.execute(select(scheduling_clock)).first()
    if known is not None and known.boot == clock.boot():
        return float(known.shift), True
    # the clock of leases begins again at a reboot: go on from the latest arrival
    return max((db.scalar(NEWEST) or 0.0) - clock.now(), 0.0), False
