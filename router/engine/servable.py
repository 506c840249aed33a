"""The models whose jobs an engine claims, in force and former ones."""

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field

from registry import ModelSpec, Registry
from router.engine.memory_fit import MemoryFit
from router.errors import BootError
from router.plugins import missing, missing_message
from router.system import System
from router.values import lacking

AGAIN_SECONDS = 5.0  # between two looks for weights that this machine lacked
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """The registry in force, and the models of unfinished jobs.

    `former` models are in force no more. `names` are those of the models that can run here. Jobs of the models in
    `ends` are claimed, too, and fail with the reason. `lacks` says what a model needs here.
    """

    registry: Registry
    former: tuple[ModelSpec, ...]
    names: tuple[str, ...]
    ends: tuple[str, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """All models that a job may need, those in force first."""
        return (*self.registry.models, *self.former)


class ServableModels:
    """Reads the models that an engine can run; safe to use from many threads."""

    def __init__(self, system: System, device: str, memory_fit: MemoryFit) -> None:
        self._system = system
        self._device = device
        self._began = time.monotonic()
        self._read_at = self._began
        self._memory_fit = memory_fit
        self._wants = {name: missing_message(each) for name, each in system.plugins.backends.items() if missing(each)}

    def read(self) -> Served:
        """Return the models of the registry in force and of the unfinished jobs.

        Jobs are claimed by name: where an entry was changed, the jobs that the former one accepted wait for an
        engine that can run the new one.
        """
        registry = self._registry()
        needed = self._system.jobs.unfinished()
        accepted = [self._system.registries.model(*each) for each in needed]
        former = tuple(model for model in accepted if model is not None and model not in registry.models)
        served = {model.name for model in registry.models}
        here = [model for model in (*registry.models, *former) if model.may_run_on(self._device)]
        able = [model for model in here if model.backend not in self._wants]
        absent = self._absent(registry, able)
        able = [model for model in able if model.name not in absent]
        # a former model whose name is in force again is not run: its jobs wait for the new one
        names = dict.fromkeys(model.name for model in able if model in registry.models or model.name not in served)
        wants = {m.name: self._wants[m.backend] for m in here if m.backend in self._wants}
        lacks = {name: lack for name, lack in {**wants, **absent}.items() if name not in names}
        elsewhere = self._elsewhere([model for model in able if model.name in names])
        names = dict.fromkeys(name for name in names if name not in elsewhere)
        # jobs of a model whose weights are broken now are claimed, and fail with the reason
        broken = {model.name for model in registry.broken}
        lost = [name for (name, _), model in zip(needed, accepted, strict=True) if model is None and name in broken]
        ends = [*lost, *self._unrunnable({name for name, _ in needed} & lacks.keys())]
        return Served(registry, former, tuple(names), tuple(dict.fromkeys(ends)), lacks)

    def _registry(self) -> Registry:
        registry = self._system.registries.poll()
        if registry.lacks and time.monotonic() - self._read_at >= AGAIN_SECONDS:
            self._read_at = time.monotonic()
            return self._system.registries.read_again()
        return registry

    def _absent(self, registry: Registry, models: Iterable[ModelSpec]) -> Mapping[str, str]:
        """Return why this machine lacks models that others may have."""
        if not self._system.database.is_shared:
            return {}  # its jobs are claimed, and fail with the reason
        lacks = {model.name: registry.lacks.get(model.name) or self._system.weights.lack(model) for model in models}
        return {name: lack for name, lack in lacks.items() if lack is not None}

    def _unrunnable(self, models: Collection[str]) -> list[str]:
        """Return those of `models` that no engine can run."""
        settings = self._system.settings
        # engines that started with this one may not have sent a heartbeat yet; other machines take longer
        is_shared = self._system.database.is_shared
        patience = settings.engine_missing_seconds if is_shared else 2 * settings.renew_seconds
        if not models or time.monotonic() - self._began < patience:
            return []
        engines = self._system.engines.seen()
        return [model for model in models if lacking(model, engines, settings.engine_missing_seconds)]

    def _elsewhere(self, models: Iterable[ModelSpec]) -> Set[str]:
        """Return the models that are too large here, and not for another engine.

        Jobs of a model too large for all engines are claimed, and fail with the reason.
        """
        large = self._memory_fit.too_large(models)
        others = self._system.engines.alive() if large else ()
        return {name for name in large if any(name in each.models and name not in each.too_large for each in others)}

    def begin(self) -> Served:
        """Read the models for the first time; raise `BootError` if none can run here."""
        # an engine that could only wait would look like one that works
        served = self.read()
        if not served.names and not served.registry.broken:  # broken ones are served once they are mended
            elsewhere = [model for model in served.models if not model.may_run_on(self._device)]
            devices = (f"{m.name} is for {', '.join(m.devices)}" for m in elsewhere)
            reasons = dict.fromkeys((*self._lacking(served), *served.lacks.values(), *devices))
            raise BootError(f"no model can run here, on {self._device}: {'; '.join(reasons)}")
        self.warn(served)
        return served

    def warn(self, served: Served) -> None:
        """Log backends without their packages, and models too large for the device."""
        for want in self._lacking(served):
            log.warning("%s; its models are not run here", want)
        for name, lack in served.lacks.items():
            if lack not in self._wants.values():
                log.warning("%s is not run here: %s", name, lack)
        for name, need in self._memory_fit.too_large(served.registry.models).items():
            log.warning("%s can never be loaded on %s: it %s; %s", name, self._device, need, need.remedy)

    def _lacking(self, served: Served) -> list[str]:
        used = {model.backend for model in served.registry.models}
        return [self._wants[name] for name in sorted(used & self._wants.keys())]
