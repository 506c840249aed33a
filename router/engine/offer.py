"""What an engine takes jobs for: the models of the newest revision, and those that jobs of earlier ones need."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set
from dataclasses import dataclass

from registry import ModelSpec, Registry
from router import plugins
from router.engine.fitting import Fitting
from router.engine.pool import REMEDY
from router.errors import BootError
from router.system import System

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """The registry in force, `former` models whose jobs are not finished, and the `names` that this Python can run."""

    registry: Registry
    former: tuple[ModelSpec, ...]
    names: tuple[str, ...]

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """Every model that may be needed, those in force first."""
        return (*self.registry.models, *self.former)


class Offering:
    """Works out an engine's offer; its Python stays what it was at the start. Safe to use from many threads."""

    def __init__(self, system: System, device: str, fitting: Fitting) -> None:
        self._system = system
        self._device = device
        self._fitting = fitting
        backends = system.plugins.backends
        self._wants = {name: plugins.wanted(backends[name]) for name in backends if plugins.missing(backends[name])}

    def look(self) -> Served:
        """Return the offer as it is now.

        Jobs are claimed by name. Where an entry was changed, those that the former one accepted wait for an
        engine that can run the new one.
        """
        registry = self._system.registry
        needed = self._system.jobs.unfinished()
        accepted = [self._system.registries.model(*each) for each in needed]
        former = [model for model in accepted if model is not None and model not in registry.models]
        served = {model.name for model in registry.models}
        able = [m for m in (*registry.models, *former) if m.backend not in self._wants and m.may_run_on(self._device)]
        names = [m.name for m in able if m in registry.models or m.name not in served]
        elsewhere = self._elsewhere([m for m in able if m.name in names])
        names = [name for name in names if name not in elsewhere]
        # jobs of a model whose weights are broken now are taken, and end with the reason
        broken = {model.name for model in registry.broken}
        lost = (name for (name, _), model in zip(needed, accepted, strict=True) if model is None and name in broken)
        return Served(registry, tuple(former), tuple(dict.fromkeys([*names, *lost])))

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
