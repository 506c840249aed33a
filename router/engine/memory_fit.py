"""Models whose weights can never fit on a device, by their files' headers."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from registry import ModelSpec, folders, part_files
from router.catalog.fit import Budget, advice
from router.catalog.weights import Weights
from router.engine.device import total_memory
from router.plugins import Plugins
from router.settings import Settings
from router.values import Need


class MemoryFit:
    """Compares the bytes that models need with the budget of a device."""

    def __init__(self, settings: Settings, plugins: Plugins, weights: Weights, device: str) -> None:
        self._settings = settings
        self._plugins = plugins
        self._weights = weights
        self.device = device
        self._known: dict[str, tuple[object, Need | None]] = {}

    @cached_property
    def budget(self) -> Budget | None:
        """The bytes for models; None if those of the device are unknown."""
        settings = self._settings
        total = 0 if settings.memory_budget.unit != "%" else total_memory(self.device)
        return None if total is None else Budget.of(settings, total, total_memory("cpu"))

    def too_large(self, models: Iterable[ModelSpec]) -> Mapping[str, Need]:
        """Return the needs of the models that can never fit, by name."""
        found = {model.name: self.need(model) for model in models}
        return {name: need for name, need in found.items() if need is not None}

    def need(self, model: ModelSpec) -> Need | None:
        """Return the need of a model that can never fit, None for others."""
        folder = model.folder or self._weights.locate(model)
        if folder is None:
            return None
        # backends are asked once for each state of a model's files
        stamp = (replace(model, folder=folder), folders.changed_at(folder, part_files.paths(model.parts)))
        known = self._known.get(model.name)
        if known is None or known[0] != stamp:
            known = stamp, self._planned(stamp[0])
            self._known[model.name] = known
        return known[1]

    def _planned(self, model: ModelSpec) -> Need | None:
        plan = self._plugins.plan(model, self.device)
        if plan is None or self.budget is None or plan.device_bytes <= self.budget.weights:
            return None
        return Need(plan.device_bytes, self.budget.weights, advice(plan, self.budget))
