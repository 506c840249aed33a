"""The clock of leases: it stands still for nobody, and wall-clock jumps do not move it.

CLOCK_BOOTTIME is shared by all processes of a machine and goes on while it sleeps; it starts again at a
reboot, so an instant is only comparable together with the boot that it belongs to.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path


@cache
def boot() -> str:
    """Return the identity of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def now() -> float:
    """Return seconds since this boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
