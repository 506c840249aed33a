"""The expected seconds of a request, by the kinds of the living engines."""

import time

from registry import ModelSpec
from router.errors import InvalidRequest
from router.intake import adapters
from router.request import Request
from router.system import System
from router.values import EngineState, Task

CACHE_SECONDS = 1.0  # of the engines, whose kinds hardly change


class Expectation:
    """Expected seconds of jobs on the engines of the last second."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._cached: tuple[float, tuple[EngineState, ...]] = (0.0, ())

    def of(self, model: ModelSpec, task: Task) -> float | None:
        """Return the expected seconds of a job, the mean over kinds; None before any."""
        kinds = {engine.kind for engine in self._engines() if model.name in engine.models and engine.kind}
        estimate = self._system.timings.estimate(model, task, kinds)
        return estimate.seconds.total if estimate else None

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
