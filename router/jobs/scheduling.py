"""The scheduling policy: short jobs and loaded models first, within a bound."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

# chosen by `python -m bench scheduling`: more lets short jobs, or those of loaded models, wait less and others more
STRETCH = 12.0  # times its estimate a job may be overtaken by later arrivals
SWITCH = 20.0  # times its load a model's job gives way to jobs of loaded models


@dataclass(frozen=True)
class ClaimRequest:
    """An engine's models, its loaded models, and the limits of engines per model.

    `switch` are the expected seconds until each model is on the device; a missing one takes none.
    """

    models: Collection[str]
    loaded: Collection[str] = ()
    most: Mapping[str, int] = field(default_factory=dict)
    switch: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SchedulingPolicy:
    """The bound of overtaking in seconds; the default limit of a key's running jobs."""

    overtake_seconds: float = 1800.0
    key_running: int | None = None


class QueuedJob(NamedTuple):
    """A queued job; `due_at` and its arrival are on the scheduling clock."""

    seq: int
    model: str
    priority: int
    due_at: float
    estimate: float | None = None


def allowance(estimate: float, overtake_seconds: float) -> float:
    """Return the seconds from a job's arrival until it is due.

    No job that arrives after it is due overtakes it, but for the load of its model. `estimate` is in seconds.
    """
    return min(STRETCH * estimate, overtake_seconds)


def choose(heads: Sequence[QueuedJob], switch: Mapping[str, float], overtake_seconds: float) -> QueuedJob:
    """Return an engine's next job: highest priority, then due first, loads counted.

    `heads` are the first jobs of the models of an engine, at least one; `switch` as in `ClaimRequest`. A job is
    overtaken by none that arrives later than twice `overtake_seconds` after it.
    """
    top = max(head.priority for head in heads)

    def rank(head: QueuedJob) -> tuple[float, int]:
        return head.due_at + min(SWITCH * switch.get(head.model, 0.0), overtake_seconds), head.seq

    return min([head for head in heads if head.priority == top], key=rank)
