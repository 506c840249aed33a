"""Retries with growing pauses and a limit."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from router.catalog.download.failures import errors, may_pass

PAUSES = (
    1.0,
    2.0,
    4.0,
    8.0,
    16.0,
)  # seconds before each retry; after as many retries without progress the download fails
Result = TypeVar("Result")


class Stopped(Exception):
    """Another file's failure has ended the download."""


class Retrier:
    """Retries calls to the hub, until `stop`."""

    def __init__(self, pauses: tuple[float, ...] = PAUSES) -> None:
        self._pauses = pauses
        self._stop = Event()

    def stop(self) -> None:
        """End all retries, waiting ones included."""
        self._stop.set()

    def check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def try_again(self, attempt: Callable[[], Result], moved: Callable[[], int] = lambda: 0) -> Result:
        """Return the result of `attempt`, retried while `moved` grows or pauses remain."""
        failures, before = 0, moved()
        while True:
            try:
                return attempt()
            except errors() as error:
                failures = 0 if moved() > before else failures
                before = moved()
                if not may_pass(error) or failures == len(self._pauses):
                    raise
            self._stop.wait(self._pauses[failures])
            self.check()
            failures += 1
