"""What stays loaded on a device: the most recently used models."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from registry import ModelSpec
from router.engine.pool import PartPool
from router.engine.reporting import Reporter
from router.errors import LoadFailed, OutOfMemory
from router.system import System
from router.values import Phase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resident:
    """A loaded model: its entry with the folder of its weights, and what its backend made of it."""

    model: ModelSpec
    loaded: Any


class Residency:
    """At most `settings.resident_models` models of one device; shared parts are held once."""

    def __init__(self, system: System, device: str) -> None:
        self._system = system
        self._device = device
        self._models: OrderedDict[str, Resident] = OrderedDict()
        self._pool = PartPool()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._models)

    def get(self, model: ModelSpec, reporter: Reporter) -> Resident:
        """Return the model, loading it if need be; raises what `load_model` raises."""
        if model.name not in self._models:
            self._make_room(self._system.settings.resident_models - 1)
            self._models[model.name] = self._load_or_retry(model, reporter)
        self._models.move_to_end(model.name)
        return self._models[model.name]

    def clear(self) -> None:
        """Unload everything."""
        self._make_room(0)

    def _load_or_retry(self, model: ModelSpec, reporter: Reporter) -> Resident:
        try:
            return self._load(model, reporter)
        except OutOfMemory:
            if not self._models:
                raise
        log.warning("%s does not fit beside %s: unloading them", model.name, ", ".join(self._models))
        self.clear()  # here and not above, where the exception would keep what was half loaded
        return self._load(model, reporter)

    def _load(self, model: ModelSpec, reporter: Reporter) -> Resident:
        folder = self._system.weights.obtain(model, reporter.phase(Phase.DOWNLOAD))
        here = replace(model, folder=folder)
        report = reporter.phase(Phase.LOAD)
        report(0, 1)
        loaded = None
        try:
            load = self._system.plugins.hook_for("load_model", here)
            loaded = load(model=here, device=self._device, pool=self._pool.share_of(model.name), report=report)
        finally:
            if loaded is None:
                self._pool.release(model.name)
        if loaded is None:
            raise LoadFailed(f"the backend {model.backend} loaded nothing for {model.name}")
        log.info("loaded %s on %s", model.name, self._device)
        return Resident(here, loaded)

    def _make_room(self, most: int) -> None:
        while len(self._models) > most:
            name, resident = self._models.popitem(last=False)
            self._pool.release(name)  # first, so that the backend can give the memory back
            self._system.plugins.hook_for("unload_model", resident.model)(model=resident.model, loaded=resident.loaded)
            log.info("unloaded %s from %s", name, self._device)
