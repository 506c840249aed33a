"""The expected seconds of an engine's loads, by model."""

from collections.abc import Iterable, Mapping

from registry import ModelSpec
from router.engine.residency import Residency
from router.jobs import TimingStore
from router.values import Origin

UNKNOWN_SECONDS = 10.0  # of a load, before any is measured


class Switch:
    """The expected seconds until each model is on the device.

    They are 0 for a loaded one. `refresh` reads the store; a claim and a heartbeat read `seconds`.
    """

    def __init__(self, timings: TimingStore, residency: Residency, kind: str) -> None:
        self._timings = timings
        self._residency = residency
        self._kind = kind
        self.seconds: Mapping[str, float] = {}

    def refresh(self, models: Iterable[ModelSpec]) -> None:
        """Read the seconds of `models`: after a load, a job or a new registry."""
        loads = {model.name: self._load_seconds(model) for model in models}
        unknown = max((seconds for seconds in loads.values() if seconds is not None), default=UNKNOWN_SECONDS)
        here = self._residency.names
        self.seconds = {
            name: 0.0 if name in here else unknown if seconds is None else seconds for name, seconds in loads.items()
        }

    def _load_seconds(self, model: ModelSpec) -> float | None:
        origin = Origin.WARM if model.name in self._residency.warm else Origin.COLD
        return self._timings.load_seconds(model, self._kind, origin)
