"""Waiting for a condition, with patience for a busy machine."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeVar

from router.system import System

PATIENCE = 60.0  # seconds; a machine with neighbours stands still for seconds now and then

Found = TypeVar("Found")


def until(what: Callable[[], Found | None], seconds: float = PATIENCE) -> Found:
    """Wait for a true result of `what` and return it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain, last for {found!r}"
        time.sleep(0.01)
    return found


def first_job(system: System) -> str:
    """Wait for the first job and return its id."""
    return next(iter(until(lambda: system.jobs.changes(0)[1])))


class Watch:
    """A stopwatch that counts a pause of the machine as a moment."""

    MOMENT = 0.05

    def __init__(self) -> None:
        self.seconds = 0.0
        self.whole = 0.0  # by the clock of the wall, once it is over
        self._stop = Event()

    def run(self) -> None:
        before = time.monotonic()
        while not self._stop.wait(0.005):
            now = time.monotonic()
            self.seconds += min(now - before, self.MOMENT)
            before = now


@contextmanager
def watch() -> Iterator[Watch]:
    """Measure the block: bound `seconds` from above, `whole` from below."""
    found, started = Watch(), time.monotonic()
    thread = Thread(target=found.run, daemon=True)
    thread.start()
    yield found
    found.whole = time.monotonic() - started
    found._stop.set()
    thread.join()
