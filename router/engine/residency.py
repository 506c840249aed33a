"""What stays loaded on a device: the most recently used models that its memory holds."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from registry import ModelSpec
from router.engine.device import memory
from router.engine.digests import Digests
from router.engine.heap import give_back
from router.engine.memory_fit import Fitting
from router.engine.pool import REMEDY, PartPool
from router.engine.reporter import Phases
from router.errors import LoadFailed, OutOfMemory
from router.system import System
from router.values import PartPath, Phase, ResidentBytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resident:
    """A loaded model: its entry with the folder of its weights, and what its backend made of it."""

    model: ModelSpec
    loaded: Any


class Residency:
    """The models of one device, within the settings' budgets; parts that several have are there once.

    Those used longest ago leave first, to the host where there is room; pinned ones stay.
    """

    def __init__(self, system: System, device: str) -> None:
        self._system = system
        self._device = device
        self.fitting = Fitting(system.settings, system.plugins, system.weights, device)
        self._models: OrderedDict[str, Resident] = OrderedDict()
        self.memory: Mapping[str, ResidentBytes] = {}  # bytes of weights by model, as of the last change
        self.warm: tuple[str, ...] = ()  # those that left and whose parts are all here still
        self.paths: Mapping[str, Mapping[str, PartPath]] = {}  # by model and part, as their backends said last
        self._pool = PartPool(
            budget=self._for_weights,
            warm_budget=system.settings.warm_budget.of(memory("cpu")),
            digests=Digests(system.settings.data / "digests.json"),
            evict=self._evict,
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._models)

    def _for_weights(self) -> int:
        budget = self._system.settings.memory_budget.of(memory(self._device))
        return budget - self._system.settings.activation_reserve.of(budget)

    def get(self, model: ModelSpec, reporter: Phases) -> Resident:
        """Return the model, loading it if need be; raises what `load_model` raises.

        One that an earlier revision has under this name leaves, unless what is loaded for it serves both.
        """
        if (known := self._models.get(model.name)) is not None and not self._keep(known, model):
            self._forget(model.name)
        if model.name not in self._models:
            while len(self._models) >= self._system.settings.resident_models and self._evict():
                pass
            self._models[model.name] = self._load_or_retry(model, reporter)
            self._take_stock()
        self._models.move_to_end(model.name)
        return self._models[model.name]

    def describe(self) -> None:
        """Ask the backends by which code their models run; not while one of them runs."""
        describe = self._system.plugins.describe
        self.paths = {name: describe(each.model, each.loaded) for name, each in self._models.items()}

    def retain(self, wanted: Iterable[ModelSpec]) -> None:
        """Unload what none of `wanted` needs; the others are from now on as the first that needs them says."""
        models = list(wanted)
        for name, resident in list(self._models.items()):
            if not any(self._keep(resident, model) for model in models):
                self._forget(name)

    def clear(self) -> None:
        """Unload everything, and keep nothing."""
        while self._models:
            self._unload(next(iter(self._models)))
        self._pool.drop_warm()
        self._take_stock()

    def _keep(self, resident: Resident, model: ModelSpec) -> bool:
        """Let what is loaded serve `model`; False if it does not."""
        if not model.loads_as(resident.model):
            return False
        here = replace(model, folder=resident.model.folder)
        self._models[model.name] = Resident(here, resident.loaded)
        return True

    def _forget(self, name: str) -> None:
        self._unload(name)
        self._pool.forget(name)
        self._take_stock()

    def _load_or_retry(self, model: ModelSpec, reporter: Phases) -> Resident:
        try:
            return self._load(model, reporter)
        except OutOfMemory:
            if not self._models:
                raise
        log.warning("%s does not fit beside %s: unloading them", model.name, ", ".join(self._models))
        while self._evict():  # here and not above, where the exception would keep what was half loaded
            pass
        return self._load(model, reporter)

    def _load(self, model: ModelSpec, reporter: Phases) -> Resident:
        folder = self._system.weights.obtain(model, reporter.phase(Phase.DOWNLOAD))
        here = replace(model, folder=folder)
        if (need := self.fitting.need(here)) is not None:  # before files are looked through that could be of terabytes
            raise LoadFailed(f"{model.name} {need}: {REMEDY}")
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
        self._system.metrics.loaded(model.name, self._device)
        return Resident(here, loaded)

    def _evict(self) -> bool:
        """Unload the model that was used longest ago; False if none may leave."""
        free = (name for name, resident in self._models.items() if not resident.model.pin)
        if (name := next(free, None)) is None:
            return False
        self._unload(name)
        self._system.metrics.evicted(name, self._device)
        return True

    def _unload(self, name: str) -> None:
        """Let a model go; it has gone whatever its backend raises, as another model, or the end, waits for that."""
        resident = self._models.pop(name)
        gone = self._pool.release(name)  # first, so that the backend can give the memory back
        if not self._system.plugins.unload(resident.model, resident.loaded, gone=gone):
            log.info("unloaded %s from %s", name, self._device)
        self._take_stock()

    def _take_stock(self) -> None:
        self.memory = {name: self._pool.held(name) for name in self._models}
        self.warm = tuple(name for name in self._pool.warm_models() if name not in self._models)
        self.describe()
        give_back()
