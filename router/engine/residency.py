"""Models that stay loaded on a device, the most recently used ones."""

import logging
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from registry import ModelSpec, folders, part_files
from router.engine.device import kind, memory
from router.engine.digests import Digests
from router.engine.heap import trim
from router.engine.load_timer import LoadTimer
from router.engine.memory_fit import MemoryFit
from router.engine.pool import PartPool
from router.engine.reporter import Phases
from router.errors import LoadFailed, OutOfMemory
from router.system import System
from router.values import Origin, PartPath, Phase, ResidentBytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resident:
    """A loaded model: its entry with `folder`, and the object that its backend loaded.

    `files` is the state of its files before the load, None if the folder has another layout.
    """

    model: ModelSpec
    loaded: Any
    files: object = None

    @property
    def is_stale(self) -> bool:
        """Whether other weights could be read from the model's files now."""
        now = _files(self.model)  # None while a file is absent or half written: what is loaded serves on
        return now is not None and now != self.files


class Residency:
    """The loaded models of one device, within the settings' budgets.

    The least recently used model leaves first, to the host if it fits there; pinned models stay.
    """

    def __init__(self, system: System, device: str) -> None:
        self._system = system
        self._device = device
        self.load_timer = LoadTimer(system, kind(device))
        self.memory_fit = MemoryFit(system.settings, system.plugins, system.weights, device)
        self._models: OrderedDict[str, Resident] = OrderedDict()
        self.memory: Mapping[str, ResidentBytes] = {}  # bytes of weights by model
        self.warm: tuple[str, ...] = ()  # models that left, and whose parts are all in memory
        self.paths: Mapping[str, Mapping[str, PartPath]] = {}  # by model and part, as last described by the backends
        self._pool = PartPool(
            budget=self._for_weights,
            warm_budget=system.settings.warm_budget.of(memory("cpu")),
            digests=Digests(system.settings.data / "digests.json"),
            evict=self._evict,
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._models)

    @property
    def in_memory(self) -> Hashable:
        """What is in memory: the models on the device, and the parts without holders."""
        return tuple(sorted(self._models)), self._pool.unheld

    def _for_weights(self) -> int:
        budget = self._system.settings.memory_budget.of(memory(self._device))
        return budget - self._system.settings.activation_reserve.of(budget)

    def get(self, model: ModelSpec, phases: Phases) -> Resident:
        """Return the model, loading it if need be; raises what `load_model` raises.

        A model of an earlier revision with this name is unloaded, unless the loaded object serves both; so is one whose
        files have changed.
        """
        if (known := self._models.get(model.name)) is not None:
            if not self._keep(known, model):
                self._forget(model.name)
            elif known.is_stale:
                log.info("the files of %s have changed: loading it again", model.name)
                self._forget(model.name)
        if model.name not in self._models:
            was_warm = model.name in self.warm
            while len(self._models) >= self._system.settings.resident_models and self._evict():
                pass
            # the bytes are the pool's to limit: `reserve` evicts models by itself
            with self.load_timer.load(model, Origin.WARM if was_warm else Origin.COLD):
                self._models[model.name] = self._load_or_retry(model, phases)
            self.describe()
            trim()
        self._models.move_to_end(model.name)
        return self._models[model.name]

    def describe(self) -> None:
        """Note the memory and the code paths of the models, between jobs."""
        self._note()
        describe = self._system.plugins.describe
        self.paths = {name: describe(each.model, each.loaded) for name, each in self._models.items()}

    def retain(self, wanted: Iterable[ModelSpec]) -> None:
        """Unload the models that serve none of `wanted`.

        Each other model takes the entry of the first that it serves.
        """
        models = list(wanted)
        for name, resident in list(self._models.items()):
            if not any(self._keep(resident, model) for model in models):
                self._forget(name)

    def clear(self) -> None:
        """Unload all models, and drop their parts from the host."""
        while self._models:
            self._unload(next(iter(self._models)))
        self._pool.drop_unheld()
        self._update()

    def _keep(self, resident: Resident, model: ModelSpec) -> bool:
        """Use a loaded model for `model`; return False if it does not serve it."""
        if not model.loads_as(resident.model):
            return False
        paths = {each.name: each.paths for each in resident.model.adapters if each.merge}
        adapters = (replace(each, paths=paths[each.name]) if each.merge else each for each in model.adapters)
        here = replace(model, folder=resident.model.folder, adapters=tuple(adapters))
        self._models[model.name] = replace(resident, model=here)
        return True

    def _forget(self, name: str) -> None:
        self._unload(name)
        self._pool.forget(name)
        self._update()

    def _load_or_retry(self, model: ModelSpec, phases: Phases) -> Resident:
        try:
            return self._load(model, phases)
        except OutOfMemory:
            if not self._models and not self._pool.size:
                raise
        others = ", ".join(self._models) or "the parts that jobs borrowed"
        log.warning("%s does not fit beside %s: unloading them", model.name, others)
        # not in the except block, where the traceback would keep the half-loaded model
        while self._pool.evict_idle() or self._evict():
            pass
        return self._load(model, phases)

    def _load(self, model: ModelSpec, phases: Phases) -> Resident:
        with self.load_timer.download():
            here = self._obtain(model, phases)
        if (need := self.memory_fit.need(here)) is not None:  # before the files are read, which may be terabytes
            raise LoadFailed(f"{model.name} {need}: {need.remedy}")
        report = phases(Phase.LOAD)
        report(0, 1)
        files = _files(here)  # before the load: a change in its midst is one
        loaded = None
        try:
            load = self._system.plugins.hook_for("load_model", here)
            loaded = load(model=here, device=self._device, pool=self._pool.share_of(model.name), report=report)
        finally:
            if loaded is None:  # a load that failed must not hold parts
                self._pool.release(model.name)
        if loaded is None:
            raise LoadFailed(f"the backend {model.backend} loaded nothing for {model.name}")
        log.info("loaded %s on %s", model.name, self._device)
        self._system.metrics.loaded(model.name, self._system.device_name(self._device))
        return Resident(here, loaded, files)

    def _obtain(self, model: ModelSpec, phases: Phases) -> ModelSpec:
        """Return the model with its files and those of its merged adapters."""
        here = replace(model, folder=self._system.weights.obtain(model, phases(Phase.DOWNLOAD)))
        names = [each.name for each in model.merged]
        return self._system.weights.obtain_adapters(here, names, phases(Phase.DOWNLOAD)) if names else here

    def _evict(self, other: str | None = None) -> bool:
        """Unload the least recently used model but `other`; return False if none may leave."""
        free = (name for name, resident in self._models.items() if not resident.model.pin and name != other)
        if (name := next(free, None)) is None:
            return False
        self._unload(name)
        self._system.metrics.evicted(name, self._system.device_name(self._device))
        return True

    def _unload(self, name: str) -> None:
        """Unload a model, whatever its backend raises."""
        resident = self._models.pop(name)
        gone = self._pool.release(name)  # first, so that the backend can free the memory
        if not self._system.plugins.unload(resident.model, resident.loaded, gone=gone):
            log.info("unloaded %s from %s", name, self._device)
        self._update()

    def _note(self) -> None:
        self.memory = {name: self._pool.held(name) for name in self._models}
        self.warm = tuple(name for name in self._pool.warm_models() if name not in self._models)
        self.paths = {name: paths for name, paths in self.paths.items() if name in self._models}

    def _update(self) -> None:
        self._note()  # no backend is asked: a job may be running, for whose parts a model left
        trim()


def _files(model: ModelSpec) -> object:
    """Return the state of a model's files, None for those that cannot be read."""
    return None if model.folder is None else folders.stamp(model.folder, part_files.paths(model.parts))
