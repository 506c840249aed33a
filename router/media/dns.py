"""Name look-ups with a deadline."""

from __future__ import annotations

import socket
import time
from concurrent.futures import Future
from threading import Thread

from router.runtime.fair_slots import Slots

WORK_SECONDS = 2.0


class Deadline:
    """A limit for this thread: `seconds` from now, and `work` seconds of a core."""

    # an honest image of 20 MiB costs a tenth of a second of a core; one that comes a byte a chunk costs minutes

    def __init__(self, seconds: float, *, work: float = WORK_SECONDS) -> None:
        self._end = time.monotonic() + seconds
        self._worked = time.thread_time() + work

    def left(self) -> float:
        """Return the seconds left, above 0; raise `TimeoutError` after the deadline."""
        left = self._end - time.monotonic()
        if left <= 0 or time.thread_time() > self._worked:
            raise TimeoutError
        return left


class Resolver:
    """A resolver of `most` names at a time, half of them one owner's."""

    # each look-up has a thread of its own, as `getaddrinfo` knows no time limit

    def __init__(self, most: int) -> None:
        self._slots = Slots(most, 2 * most, WORK_SECONDS)

    def addresses(self, host: str, port: int, deadline: Deadline, owner: str = "") -> list[str]:
        """Return every address, the best first; raise `OSError` without one, `TimeoutError` at the deadline."""
        if not self._slots.acquire(owner, deadline.left()):
            raise TimeoutError
        found: Future[list[str]] = Future()
        try:
            Thread(target=self._look_up, args=(found, host, port, owner), name="lookup", daemon=True).start()
        except RuntimeError:  # no more threads
            self._slots.release(owner)
            raise
        return found.result(deadline.left())

    def _look_up(self, found: Future[list[str]], host: str, port: int, owner: str) -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.set_result(list(dict.fromkeys(str(answer[4][0]) for answer in answers)))
        except (OSError, UnicodeError) as error:
            found.set_exception(OSError(str(error)))
        finally:
            self._slots.release(owner)
