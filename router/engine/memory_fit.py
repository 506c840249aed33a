"""Models whose weights can never fit on a device, by their files' headers."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from registry import ModelSpec, folders, part_files
from router.catalog.weights import Weights
from router.engine.device import total_memory
from router.plugins import Plugins
from router.settings import Settings
from router.values import Need

log = logging.getLogger(__name__)


class MemoryFit:
    """Compares the bytes that models need with the budget of a device."""

    def __init__(self, settings: Settings, plugins: Plugins, weights: Weights, device: str) -> None:
        self._settings = settings
        self._plugins = plugins
        self._weights = weights
        self.device = device
        self._known: dict[str, tuple[object, Need | None]] = {}

    @cached_property
    def budget(self) -> int | None:
        """Bytes that weights may take of the device; None if its memory is unknown."""
        settings = self._settings
        total = 0 if settings.memory_budget.unit != "%" else total_memory(self.device)
        if total is None:
            return None
        budget = settings.memory_budget.of(total)
        return budget - settings.activation_reserve.of(budget)

    def too_large(self, models: Iterable[ModelSpec]) -> Mapping[str, Need]:
        """Return the needs of the models that can never fit, by name."""
        found = {model.name: self.need(model) for model in models}
        return {name: need for name, need in found.items() if need is not None}

    def need(self, model: ModelSpec) -> Need | None:
        """Return the need of a model that can never fit, None for others."""
        try:
            return self._need(model)
        except (Exception, SystemExit):  # a model without a plan may fit
            log.exception("what %s needs cannot be planned", model.name)
            return None

    def _need(self, model: ModelSpec) -> Need | None:
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
        plan = self._plugins.hook_for("plan_model", model)
        needed = plan(model=model, device=self.device)
        if needed is None or self.budget is None or needed <= self.budget:
            return None
        return Need(int(needed), self.budget)
