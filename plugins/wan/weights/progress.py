"""How much of a model is loaded, in bytes."""

from __future__ import annotations

from router import Report


class Progress:
    """Reports bytes of `total` as they arrive; parts that are there already count when they are taken."""

    def __init__(self, report: Report, total: int) -> None:
        self._report = report
        self._total = total
        self._before = 0  # of the parts that are whole
        self._done = 0

    def arrived(self, size: int) -> None:
        """Say that so many bytes more of the part in hand have arrived; raises `JobCancelled`."""
        self._done = min(self._done + size, self._total)
        self._report(self._done, self._total)

    def has(self, size: int) -> None:
        """Say that the part in hand, of so many bytes, is whole."""
        self._before += size
        self._done = self._before
        self._report(self._done, self._total)
