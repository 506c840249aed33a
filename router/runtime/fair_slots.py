"""Slots for concurrent work, shared fairly among owners."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Slots:
    """`count` slots of one process, with a queue of `queued` for at most `seconds`.

    An owner gets another slot, or queue position, only while more are free than it has: one owner alone gets half of
    them, the next half of the rest.
    """

    def __init__(self, count: int, queued: int, seconds: float) -> None:
        self._count = count
        self._queued = queued
        self._seconds = seconds
        self._held: Counter[str] = Counter()
        self._queue: list[tuple[str, object]] = []
        self._changed = Condition()

    @contextmanager
    def take(self, owner: str) -> Iterator[bool]:
        """Hold a slot for the block; yield False if none is free in time."""
        taken = self.acquire(owner)
        try:
            yield taken
        finally:
            if taken:
                self.release(owner)

    def release(self, owner: str) -> None:
        """Free a slot of `acquire`; any thread may call this."""
        with self._changed:
            self._held[owner] -= 1
            self._held += Counter()  # forget owners without slots
            self._changed.notify_all()

    def acquire(self, owner: str, seconds: float | None = None) -> bool:
        """Take a slot; return False if none is free within `seconds`."""
        with self._changed:
            if not self._queue_is_open(owner):
                return False
            mine = (owner, object())
            self._queue.append(mine)
            try:
                deadline = time.monotonic() + (self._seconds if seconds is None else seconds)
                while self._next() is not mine:
                    if not self._changed.wait(deadline - time.monotonic()):
                        return False
                self._held[owner] += 1
                return True
            finally:
                self._queue.remove(mine)
                self._changed.notify_all()

    def _queue_is_open(self, owner: str) -> bool:
        """Say whether the owner may queue once more; a free slot needs no queue."""
        if self._may_hold(owner) and not any(self._may_hold(other) for other, _ in self._queue):
            return True
        mine = sum(other == owner for other, _ in self._queue)
        return self._queued - len(self._queue) > mine

    def _may_hold(self, owner: str) -> bool:
        return self._count - self._held.total() > self._held[owner]

    def _next(self) -> tuple[str, object] | None:
        """Return the first queued request of the owner with the fewest slots."""
        allowed = [one for one in self._queue if self._may_hold(one[0])]
        return min(allowed, key=lambda one: self._held[one[0]], default=None)
