"""The clock of leases, and a clock of this process.

Leases count seconds since boot, also during sleep, unaffected by wall-clock jumps. All processes of a machine share
CLOCK_BOOTTIME. It starts again at a reboot, so instants of different boots cannot be compared.
"""

import time
from functools import cache
from pathlib import Path

MAX_TICK_SECONDS = 1.0


@cache
def boot() -> str:
    """Return the id of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def now() -> float:
    """Return seconds since this boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class AwakeClock:
    """Counts the seconds between calls of `tick`, each gap at most `max_tick`."""

    # a child that was silent while its supervisor was stopped, or the machine asleep, has not hung

    def __init__(self, max_tick: float = MAX_TICK_SECONDS) -> None:
        self.now = 0.0
        self._max_tick = max_tick
        self._before = time.monotonic()

    def tick(self) -> None:
        instant = time.monotonic()
        self.now += min(instant - self._before, self._max_tick)
        self._before = instant
