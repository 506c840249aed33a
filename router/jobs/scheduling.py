"""Whose turn it is: jobs for what an engine has loaded go first, and no other waits for them for long."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

PLACES = 2  # times as many jobs as were before it may run before a job: twice its wait in order of arrival


@dataclass(frozen=True)
class ClaimRequest:
    """What an engine would run: its models, those `loaded`, and how many engines at `most` may load a model."""

    models: Collection[str]
    loaded: Collection[str] = ()
    most: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SchedulingPolicy:
    """For how long a job may be overtaken, and how many jobs a key may run that has no such limit of its own."""

    overtake_seconds: float = 600.0
    key_running: int | None = None


@dataclass(frozen=True)
class QueueHead:
    """The oldest queued job of a model in its highest priority; `due` is the soonest of all jobs behind it."""

    seq: int
    model: str
    priority: int
    due: int
    overtaken_at: float | None

    def overdue(self, turn: int, now: float, patience: float) -> bool:
        """Say whether nobody may overtake it any more."""
        late = self.overtaken_at is not None and not 0 <= now - self.overtaken_at < patience  # below 0: another boot
        return late or self.due <= turn


def choose(heads: Sequence[QueueHead], loaded: Collection[str], turn: int, now: float, patience: float) -> QueueHead:
    """Return the next one, of at least one head: of the highest priority what is overdue, else what is loaded.

    A job is due when twice as many jobs have been claimed since it came as were before it then, and
    `patience` seconds after it was first overtaken.
    """
    top = max(head.priority for head in heads)
    rivals = [head for head in heads if head.priority == top]
    if overdue := [head for head in rivals if head.overdue(turn, now, patience)]:
        return min(overdue, key=lambda head: (head.due, head.seq))
    return min([head for head in rivals if head.model in loaded] or rivals, key=lambda head: head.seq)


def due_at(turn: int, ahead: int) -> int:
    """Return when a job is due that comes at `turn`, with so many before it."""
    return turn + PLACES * ahead
