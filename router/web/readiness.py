"""The log line for a ready server, by the first process to notice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Thread

from router.runtime.once import Once
from router.runtime.threads import log_and_go_on
from router.system import System

LOOK_SECONDS = 0.5


class Readiness:
    """Reports when `/readyz` answers 200, which needs an engine."""

    def __init__(self, system: System) -> None:
        self._system = system

    def start(self, say: Callable[[str], None], listeners: Sequence[str], serves: Once, ready: Once) -> None:
        """Report readiness on `listeners` from a thread, and first what is missing."""

        def run() -> None:
            done = False
            while not done:
                with log_and_go_on("the look for an engine"):
                    done = self._look(say, listeners, serves, ready)
                time.sleep(0 if done else LOOK_SECONDS)

        Thread(target=run, name="readiness", daemon=True).start()

    def _look(self, say: Callable[[str], None], listeners: Sequence[str], serves: Once, ready: Once) -> bool:
        first = serves.taken()
        if lack := self._lack():
            for listener in listeners if first else ():
                say(f"Server on {listener} is open; {lack}")
            return False
        for listener in listeners if ready.taken() else ():
            say(f"Server ready on {listener}")
        return True

    def _lack(self) -> str | None:
        """Return what is missing for `/readyz` to answer 200."""
        if not self._system.engines.alive():
            return "no engine runs yet"
        if problem := self._system.probe.problem():
            return f"the store cannot be written: {problem}"
        return self._system.disk.shortage()
