"""The expected seconds of a request, by the kinds of the living engines."""

import time

from registry import ModelSpec
from router.errors import InvalidRequest
from router.intake import adapters
from router.request import Request
from router.system import System
from router.values import EngineState, Estimate, Task

CACHE_SECONDS = 1.0  # of the engines, whose kinds hardly change


class Expectation:
    """Expected seconds of jobs on the engines of the last second."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._cached: tuple[float, tuple[EngineState, ...]] = (0.0, ())

    def of(self, model: ModelSpec, task: Task) -> float | None:
        """Return the expected seconds of a job, the mean over kinds; None before any."""
        estimate = self.estimate(model, task)
        return estimate.seconds.total if estimate else None

    def estimate(self, model: ModelSpec, task: Task) -> Estimate | None:
        """Return the same with its basis."""
        kinds = {engine.kind for engine in self._engines() if model.name in engine.models and engine.kind}
        return self._system.timings.estimate(model, task, kinds)

    def load_seconds(self, model: ModelSpec) -> float | None:
        """Return the expected seconds until an engine has loaded a model; None if unknown.

        An engine that drains loads nothing more, and what it has loaded runs no new job.
        """
        able = [engine for engine in self._engines() if model.name in engine.models and not engine.draining]
        if any(model.name in engine.resident for engine in able):
            return 0.0
        return min((engine.loads[model.name] for engine in able if model.name in engine.loads), default=None)

    def _engines(self) -> tuple[EngineState, ...]:
        read_at, engines = self._cached
        if time.monotonic() - read_at > CACHE_SECONDS:
            engines = self._system.engines.alive()
            self._cached = (time.monotonic(), engines)
        return engines


def default_task(model: ModelSpec) -> Task | None:
    """Return the task of a request without options, None where it would be refused."""
    try:
        model, used = adapters.choose(model, Request(model.name, prompt=""))
    except InvalidRequest:  # its default adapters disagree on a default
        return None
    defaults = model.defaults
    shift = defaults.flow_shift.at(defaults.width, defaults.height)
    named = {**vars(defaults), "flow_shift": shift, "input_kinds": model.modality.needs, "adapters": used}
    return Task(prompt="", seed=0, **named)
