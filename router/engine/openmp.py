"""How the threads of a CPU engine wait for each other."""

from __future__ import annotations

from collections.abc import Mapping

# Threads that spin for long cost a factor of ten when another process is busy; those that sleep at once cost a factor
# of two when none is, for a core that sleeps is slow to wake. So they spin for some microseconds, and then sleep.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}


def waiting(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what an engine's environment needs beside `environ`: nothing where that says how threads wait."""
    return {} if WAITING.keys() & environ.keys() else dict(WAITING)
