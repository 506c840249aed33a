"""When each model can run, for the advice of refusals."""

import time
from collections.abc import Mapping
from enum import Enum

from sqlalchemy.exc import SQLAlchemyError

from registry import ModelSpec, Registry
from router.system import System
from router.values import EngineState, lacking, too_large

CACHE_SECONDS = 1.0  # of the answer: a refusal takes less than a millisecond, a look at disk and store takes longer
HERE = ("none", "embedded", "here")  # states of weights


class Availability(Enum):
    """When a model can run: now, once its weights are fetched, or not."""

    NOW = "now"
    ONCE_FETCHED = "once fetched"
    NOT = "not"


class ModelAvailability:
    """When the models of a registry can run, as of the last second."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._cached: tuple[float, Registry | None, Mapping[str, Availability]] = (0.0, None, {})

    def of(self, registry: Registry) -> Mapping[str, Availability]:
        """Return the availability of each model by its name."""
        read_at, known, found = self._cached
        if known is not registry or time.monotonic() - read_at > CACHE_SECONDS:
            found = self._read(registry)
            self._cached = (time.monotonic(), registry, found)
        return found

    def _read(self, registry: Registry) -> Mapping[str, Availability]:
        try:
            engines = self._system.engines.seen()
        except SQLAlchemyError:  # the refusal is true without it
            return {model.name: self._by_weights(model) for model in registry.models}
        alive = self._system.engines.alive(engines)
        # engines read a new revision within a heartbeat
        is_new = self._system.registries.age < 2 * self._system.settings.renew_seconds
        offered = {name for engine in alive for name in engine.models}
        models = [model for model in registry.models if is_new or not alive or model.name in offered]
        runs = [model for model in models if no_engine(self._system, model, engines) is None]
        return {model.name: self._by_weights(model) for model in runs}

    def _by_weights(self, model: ModelSpec) -> Availability:
        if self._system.database.is_shared:
            return Availability.NOW  # the weights are where the engines are
        state = self._system.weights.state(model)
        if state in HERE:
            return Availability.NOW
        is_fetched = state != "unsuited" and self._system.weights.is_fetchable(model)
        return Availability.ONCE_FETCHED if is_fetched else Availability.NOT


def no_engine(system: System, model: ModelSpec, engines: tuple[EngineState, ...]) -> str | None:
    """Return why no engine among those seen can run a model, else None."""
    if (reason := too_large(model.name, system.engines.alive(engines))) is not None:
        return reason
    allowed = system.settings.engine_missing_seconds
    if lacks := lacking(model.name, engines, allowed):
        return f"no engine can run {model.name}: {'; '.join(lacks)}"
    # engines have as long to take up a registry that this process has just taken up
    if system.registries.age > allowed:
        ages = [engine.age for engine in engines if model.name in engine.models]
        if min(ages, default=allowed) >= allowed:
            missing = f"no engine that can run {model.name} was seen for {allowed:.0f} seconds"
            return f"{missing}; start one with 'framegate engine'"
    return None
