"""Checks of the lease clock and the wall clock."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from router.doctor.finding import DoctorContext, Finding, fail, ok, warn
from router.doctor.store import opened, path_of
from router.runtime import clock

AHEAD_SECONDS = 60.0


def check(context: DoctorContext) -> Iterator[Finding]:
    yield leases()
    path = path_of(context)
    if not context.settings.store and path.exists():  # a shared store is held against this clock itself
        with closing(opened(path)) as db:
            yield wall(newest(db), time.time())


def leases() -> Finding:
    try:
        return ok("clock", f"this boot is {clock.boot()}, {clock.now():.0f} s old")
    except OSError as error:
        return fail("clock", f"leases need to know this boot: {error}", "mount /proc")


def newest(db: sqlite3.Connection) -> float | None:
    """Return the creation time of the newest job, or None."""
    try:
        return float(db.execute("SELECT created_at FROM jobs ORDER BY seq DESC LIMIT 1").fetchone()[0])
    except (sqlite3.Error, TypeError):  # no such table, or no row
        return None


def wall(newest: float | None, now: float) -> Finding:
    if newest is not None and newest - now > AHEAD_SECONDS:
        advice = "set the clock: timedatectl set-ntp true"
        return warn("clock", f"it is {newest - now:.0f} s behind the newest job", advice)
    return ok("clock", time.strftime("it is %Y-%m-%d %H:%M:%S %Z", time.localtime(now)))
