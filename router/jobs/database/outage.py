"""Outages of a shared store: noticed once, logged once, over with the next connection."""

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from router.errors import reason

REST_SECONDS = 0.5  # between two tries to connect, of all threads together
log = logging.getLogger(__name__)
Made = TypeVar("Made")


class Outage:
    """An outage of the store, noticed by any of many threads.

    During an outage one thread at a time tries to connect; the others get its error at once. Before `is_logged` is
    set, only the caller hears of errors.
    """

    def __init__(self, store: str, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now = now
        self._lock = Lock()
        self._is_on = False
        self._since = 0.0
        self._next = 0.0
        self._down = ""  # why no connection could be made
        self._is_trying = False
        self.is_logged = False

    def begin(self, error: Exception) -> None:
        """Note an error of the store; log the first."""
        with self._lock:
            if self._is_on or not self.is_logged:
                return
            self._is_on, self._since = True, self._now()
            log.error("the store %s cannot be used now: %s; trying again", self._store, reason(error))

    def end(self) -> None:
        """Note that the store answers."""
        if not self._is_on:
            return
        with self._lock:
            if self._is_on:
                self._is_on = False
                log.warning("the store %s is back after %.1f s", self._store, self._now() - self._since)

    def connect(self, make: Callable[[], Made], lost: type[Exception]) -> Made:
        """Return the connection of `make`; raise `lost` at once during an outage."""
        with self._lock:
            if self._down and (self._is_trying or self._now() < self._next):
                raise lost(self._down)
            self._is_trying = True
        try:
            made = make()
        except lost as error:
            self._next = self._now() + REST_SECONDS
            self._down = reason(error)
            self.begin(error)
            raise
        finally:
            self._is_trying = False
        self._down = ""
        self.end()
        return made
