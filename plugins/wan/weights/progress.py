"""The progress of loading a model, in bytes."""

from __future__ import annotations

from router import Report


class LoadProgress:
    """Report loaded bytes of `total`; resident parts count when the model takes them."""

    def __init__(self, report: Report, total: int) -> None:
        self._report = report
        self._total = total
        self._complete = 0  # of whole parts
        self._done = 0

    def add(self, size: int) -> None:
        """Count `size` more bytes of the current part; may raise `JobCancelled`."""
        self._done = min(self._done + size, self._total)
        self._report(self._done, self._total)

    def complete(self, size: int) -> None:
        """Count the current part, of `size` bytes, as whole."""
        self._complete += size
        self._done = self._complete
        self._report(self._done, self._total)
