"""Try again what may pass: later each time, and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from router.catalog.download.failures import errors, may_pass

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each new try; as many tries that bring nothing are the end
Result = TypeVar("Result")


class Stopped(Exception):
    """Another file's failure has ended the whole download."""


class Patience:
    """Tries calls to the hub, until told to stop."""

    def __init__(self, pauses: tuple[float, ...] = PAUSES) -> None:
        self._pauses = pauses
        self._stop = Event()

    def stop(self) -> None:
        """End every try: those that wait, and those that `check`."""
        self._stop.set()

    def check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def try_again(self, attempt: Callable[[], Result], moved: Callable[[], int] = lambda: 0) -> Result:
        """Return the result of `attempt`, tried until the last pause has passed without `moved` growing."""
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
