"""The scheduling policy: jobs of a loaded model run first, within bounds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

OVERTAKE_FACTOR = 2  # a job is overtaken by at most twice the jobs that were ahead of it


@dataclass(frozen=True)
class ClaimRequest:
    """An engine's models, its loaded models, and the limits of engines per model."""

    models: Collection[str]
    loaded: Collection[str] = ()
    most: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SchedulingPolicy:
    """The longest time of being overtaken; the default limit of running jobs."""

    overtake_seconds: float = 600.0
    key_running: int | None = None


@dataclass(frozen=True)
class QueueHead:
    """The oldest queued job of a model; `due` is the minimum of its queue."""

    seq: int
    model: str
    priority: int
    due: int
    overtaken_at: float | None

    def overdue(self, claims: int, now: float, overtake_seconds: float) -> bool:
        """Return whether no job may overtake this one any more."""
        # below 0: overtaken in another boot
        late = self.overtaken_at is not None and not 0 <= now - self.overtaken_at < overtake_seconds
        return late or self.due <= claims


def choose(
    heads: Sequence[QueueHead], loaded: Collection[str], claims: int, now: float, overtake_seconds: float
) -> QueueHead:
    """Return the next job: highest priority, then overdue, then of a loaded model.

    A job is overdue after twice as many claims as jobs were ahead of it, or `overtake_seconds` after a job first
    overtook it.
    """
    top = max(head.priority for head in heads)
    rivals = [head for head in heads if head.priority == top]
    if overdue := [head for head in rivals if head.overdue(claims, now, overtake_seconds)]:
        return min(overdue, key=lambda head: (head.due, head.seq))
    return min([head for head in rivals if head.model in loaded] or rivals, key=lambda head: head.seq)
