"""The expected seconds of an engine's loads, by model."""

from collections.abc import Iterable, Mapping

from registry import ModelSpec
from router.engine.residency import Residency
from router.jobs import TimingStore
from router.values import Origin

UNKNOWN_SECONDS = 10.0  # of a load, before any is measured


class Switch:
    """The expected seconds until each model is on the device.

    `seconds`, for claims, are 0 for a loaded one; `loads`, for heartbeats, are those of its next load. `refresh` reads
    the store.
    """

    def __init__(self, timings: TimingStore, residency: Residency, kind: str) -> None:
        self._timings = timings
        self._residency = residency
        self._kind = kind
        self.loads: Mapping[str, float] = {}
        self.seconds: Mapping[str, float] = {}

    def refresh(self, models: Iterable[ModelSpec]) -> None:
        """Read the seconds of `models`: after a load, a job or a new registry."""
        known = {model.name: self._load_seconds(model) for model in models}
        unknown = max((seconds for seconds in known.values() if seconds is not None), default=UNKNOWN_SECONDS)
        here = self._residency.names
        self.loads = {name: unknown if seconds is None else seconds for name, seconds in known.items()}
        self.seconds = {name: 0.0 if name in here else seconds for name, seconds in self.loads.items()}

    def _load_seconds(self, model: ModelSpec) -> float | None:
        # a loaded model leaves for the host's memory, if it ever came back from there
        is_cold = model.name not in (*self._residency.warm, *self._residency.names)
        return self._timings.load_seconds(model, self._kind, Origin.COLD if is_cold else Origin.WARM)
