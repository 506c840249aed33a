"""Heartbeats of an engine: the phase of its main thread, or a cancelled job."""

from __future__ import annotations

from threading import Lock
from typing import Protocol

from router.runtime.beats import Beats
from router.values import Phase

IDLE, CANCELLED = "idle", "cancelled"


class Beat(Protocol):
    """Sends the engine's phase (None: idle) to the supervisor."""

    def __call__(self, phase: Phase | None) -> None: ...


class Heart(Beat, Protocol):
    """A beat that also reports cancelled jobs."""

    def cancelled(self) -> None: ...


class Heartbeat:
    """Beats of a supervised engine; safe to use from many threads."""

    def __init__(self, beats: Beats) -> None:
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


class Unwatched:
    """Beats of an engine without a supervisor."""

    def __call__(self, phase: Phase | None) -> None:
        pass

    def cancelled(self) -> None:
        pass
