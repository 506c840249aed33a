"""What an engine takes jobs for: the models of the newest revision, and those that jobs of earlier ones need."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field

from registry import ModelSpec, Registry
from router import plugins
from router.engine.memory_fit import Fitting
from router.engine.pool import REMEDY
from router.errors import BootError
from router.system import System
from router.values import lacking

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """The registry in force, `former` models whose jobs are not finished, and the `names` that this Python can run.

    Jobs of models that `ends` names are taken to be failed with the reason; `lacks` says what a model needs here.
    """

    registry: Registry
    former: tuple[ModelSpec, ...]
    names: tuple[str, ...]
    ends: tuple[str, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """Every model that may be needed, those in force first."""
        return (*self.registry.models, *self.former)


class ServableModels:
    """Works out an engine's offer; its Python stays what it was at the start. Safe to use from many threads."""

    def __init__(self, system: System, device: str, fitting: Fitting) -> None:
        self._system = system
        self._device = device
        self._began = time.monotonic()
        self._fitting = fitting
        backends = system.plugins.backends
        self._wants = {name: plugins.wanted(backends[name]) for name in backends if plugins.missing(backends[name])}

    def look(self) -> Served:
        """Return the offer as it is now.

        Jobs are claimed by name. Where an entry was changed, those that the former one accepted wait for an
        engine that can run the new one.
        """
        registry = self._system.registries.poll()
        needed = self._system.jobs.unfinished()
        accepted = [self._system.registries.model(*each) for each in needed]
        former = tuple(model for model in accepted if model is not None and model not in registry.models)
        served = {model.name for model in registry.models}
        here = [model for model in (*registry.models, *former) if model.may_run_on(self._device)]
        able = [model for model in here if model.backend not in self._wants]
        names = dict.fromkeys(model.name for model in able if model in registry.models or model.name not in served)
        lacks = {m.name: self._wants[m.backend] for m in here if m.backend in self._wants and m.name not in names}
        elsewhere = self._elsewhere([model for model in able if model.name in names])
        names = dict.fromkeys(name for name in names if name not in elsewhere)
        # jobs of a model whose weights are broken now are taken, and end with the reason
        broken = {model.name for model in registry.broken}
        lost = [name for (name, _), model in zip(needed, accepted, strict=True) if model is None and name in broken]
        ends = [*lost, *self._nobodys({name for name, _ in needed} & lacks.keys())]
        return Served(registry, former, tuple(names), tuple(dict.fromkeys(ends)), lacks)

    def _nobodys(self, models: Collection[str]) -> list[str]:
        """Return those of `models` that no engine can run; engines that start with this one have a moment to say so."""
        settings = self._system.settings
        if not models or time.monotonic() - self._began < 2 * settings.renew_seconds:
            return []
        engines = self._system.engines.seen()
        return [model for model in models if lacking(model, engines, settings.engine_missing_seconds)]

    def _elsewhere(self, models: Iterable[ModelSpec]) -> Set[str]:
        """Return which of the models can never be loaded here, while another engine may load them.

        Where none may, jobs that were accepted are taken, and end with the reason.
        """
        large = self._fitting.too_large(models)
        others = self._system.engines.alive() if large else ()
        return {name for name in large if any(name in each.models and name not in each.too_large for each in others)}

    def begin(self) -> Served:
        """Return the first offer; raise `BootError` when there is nothing in it.

        An engine that could only wait would look like one that works.
        """
        served = self.look()
        if not served.names and not served.registry.broken:  # those are served once they are mended
            elsewhere = (
                f"{m.name} is for {', '.join(m.devices)}" for m in served.models if not m.may_run_on(self._device)
            )
            raise BootError(
                f"no model can run here, on {self._device}: {'; '.join([*self._lacking(served), *elsewhere])}"
            )
        self.warn(served)
        return served

    def warn(self, served: Served) -> None:
        """Log which backends of the models in force lack something."""
        for want in self._lacking(served):
            log.warning("%s; its models are not run here", want)
        for name, need in self._fitting.too_large(served.registry.models).items():
            log.warning("%s can never be loaded on %s: it %s; %s", name, self._device, need, REMEDY)

    def _lacking(self, served: Served) -> list[str]:
        used = {model.backend for model in served.registry.models}
        return [self._wants[name] for name in sorted(used & self._wants.keys())]
