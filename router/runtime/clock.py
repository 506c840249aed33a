"""The clock of leases: seconds since boot, also during sleep, unaffected by wall-clock jumps.

All processes of a machine share CLOCK_BOOTTIME. It starts again at a reboot, so instants of different boots cannot be
compared.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path


@cache
def boot() -> str:
    """Return the id of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def now() -> float:
    """Return seconds since this boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
