"""The forecast of the queue: a simulation of its engines with the scheduling policy."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from router.jobs.scheduling import QueuedJob, choose


class Span(NamedTuple):
    """Seconds from now until a queued job is claimed, and until it is done."""

    start: float
    end: float


@dataclass(frozen=True)
class BusyEngine:
    """A living engine, and the seconds until it is free.

    `loaded` are its models on the device, the least recently used first; `loads` as in `EngineState`. `running` is the
    model of its job, loaded when that ends.
    """

    models: Collection[str]
    loaded: Sequence[str] = ()
    loads: Mapping[str, float] = field(default_factory=dict)
    busy: float = 0.0
    running: str | None = None


def forecast(
    queue: Iterable[QueuedJob], engines: Sequence[BusyEngine], *, unknown: float, overtake_seconds: float
) -> dict[int, Span]:
    """Return when each queued job will run, by `seq`.

    `queue` has each model's jobs in their order; those of a model without an engine are left out. `unknown` are the
    seconds of a job without an estimate. New arrivals and the limits of keys and of engines per model do not count.
    """
    queues: dict[str, deque[QueuedJob]] = {}
    for job in queue:
        queues.setdefault(job.model, deque()).append(job)
    simulated = [_Engine(engine, queues) for engine in engines]
    free = [(engine.busy, number) for number, engine in enumerate(engines)]
    heapify(free)
    spans: dict[int, Span] = {}
    while free:
        start, number = heappop(free)
        engine = simulated[number]
        if not (heads := [waiting[0] for waiting in engine.queues if waiting]):
            continue  # nothing is left for this engine
        job = choose(heads, engine.switch, overtake_seconds)
        queues[job.model].popleft()
        end = start + engine.load(job.model) + (unknown if job.estimate is None else job.estimate)
        spans[job.seq] = Span(start, end)
        heappush(free, (end, number))
    return spans


class _Engine:
    """A simulated engine."""

    # its memory is unknown here: it keeps the number of models that it has loaded now, at least one

    def __init__(self, engine: BusyEngine, queues: Mapping[str, deque[QueuedJob]]) -> None:
        self.queues = [queues[model] for model in engine.models if model in queues]
        self.switch = {**engine.loads, **dict.fromkeys(engine.loaded, 0.0)}
        self._loads = engine.loads
        self._loaded = list(engine.loaded)
        self._room = max(len(engine.loaded), 1)
        if engine.running is not None:
            self.load(engine.running)

    def load(self, model: str) -> float:
        """Load a model; return the seconds that it took."""
        seconds = self.switch.get(model, 0.0)
        if model in self._loaded:
            self._loaded.remove(model)
        elif len(self._loaded) == self._room:
            left = self._loaded.pop(0)
            self.switch[left] = self._loads.get(left, 0.0)
        self._loaded.append(model)
        self.switch[model] = 0.0
        return seconds
