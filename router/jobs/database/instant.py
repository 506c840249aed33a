"""The clock of leases: a machine's, or a shared database's."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Instant:
    """Seconds on the clock of a `boot`; those of other boots cannot be compared.

    A database of many machines has one clock, and its boot is "".
    """

    boot: str
    now: float

    def before(self, seconds: float) -> Instant:
        return replace(self, now=self.now - seconds)
