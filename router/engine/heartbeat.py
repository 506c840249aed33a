"""Heartbeats of an engine: the phase of its main thread, or a cancelled job."""

from collections.abc import Callable
from threading import Lock

from router.values import Phase

IDLE, CANCELLED = "idle", "cancelled"
Beat = Callable[[Phase | None], None]  # sends the engine's phase (None: idle) to the supervisor


class Heartbeat:
    """Beats of an engine, safe to use from many threads."""

    def __init__(self, beats: Callable[[str], None] = lambda phase: None) -> None:
        self._beats = beats
        self._lock = Lock()
        self._cancelled = False

    def __call__(self, phase: Phase | None) -> None:
        with self._lock:
            self._cancelled = self._cancelled and phase is not None
            if not self._cancelled:
                self._beats(phase or IDLE)

    def cancelled(self) -> None:
        """Report a cancelled job, and send no beats until the engine is idle."""
        with self._lock:
            if not self._cancelled:
                self._cancelled = True
                self._beats(CANCELLED)
