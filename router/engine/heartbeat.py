"""An engine's signs of life: what its main thread does, and that its job has been cancelled."""

from __future__ import annotations

from threading import Lock
from typing import Protocol

from router.runtime.beats import Beats
from router.values import Phase

IDLE, CANCELLED = "idle", "cancelled"


class Beat(Protocol):
    """Tell the supervisor that the engine moves, and in which phase it is (None: idle)."""

    def __call__(self, phase: Phase | None) -> None: ...


class Heart(Beat, Protocol):
    """A beat that also knows of jobs nobody wants any more."""

    def cancelled(self) -> None: ...


class Heartbeat:
    """Beats of a watched engine; safe to use from many threads."""

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
        """Start the last seconds of the running job: until the engine is idle, no report of it is a sign of life."""
        with self._lock:
            if not self._cancelled:
                self._cancelled = True
                self._beats(CANCELLED)


class Unwatched:
    """Beats of an engine that has no supervisor."""

    def __call__(self, phase: Phase | None) -> None:
        pass

    def cancelled(self) -> None:
        pass
