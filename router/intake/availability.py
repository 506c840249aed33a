"""Whether a job of a model can be queued now: weights, disk, engines, queues."""

from __future__ import annotations

from registry import ModelSpec
from router.errors import ModelUnavailable
from router.jobs import QueueLimits
from router.system import System
from router.values import lacking, too_large


def check_available(system: System, model: ModelSpec, limits: QueueLimits) -> None:
    """Raise an `Unavailable` if no job of the model can be queued now."""
    system.weights.check(model)
    system.disk.require()
    _check_engines(system, model)
    system.jobs.check_room(limits)


def _check_engines(system: System, model: ModelSpec) -> None:
    engines = system.engines.seen()
    if (reason := too_large(model.name, system.engines.alive(engines))) is not None:
        raise ModelUnavailable(reason)
    allowed = system.settings.engine_missing_seconds
    if lacks := lacking(model.name, engines, allowed):
        raise ModelUnavailable(f"no engine can run {model.name}: {'; '.join(lacks)}")
    # engines have as long to take up a registry that this process has just taken up
    if system.registries.age > allowed:
        ages = [engine.age for engine in engines if model.name in engine.models]
        if min(ages, default=allowed) >= allowed:
            raise ModelUnavailable(
                f"no engine that can run {model.name} was seen for {allowed:.0f} seconds; "
                "start one with 'framegate engine'"
            )
