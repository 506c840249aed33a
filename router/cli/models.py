"""`framegate models`: a table of models, backends, weights and loaded models."""

from collections.abc import Mapping, Sequence

import click

from registry import ModelSpec
from router.catalog import disk_use
from router.catalog.adapters import READY
from router.catalog.footprints import Footprint, Footprints
from router.cli.options import with_single_model
from router.cli.table import show
from router.engine.device import devices
from router.plugins import missing
from router.runtime.byte_size import format_bytes
from router.settings import Settings
from router.system import System, reading
from router.values import EngineState, PartPath, ResidentBytes

HEADINGS = (
    "NAME", "MODALITY", "BACKEND", "RUNNABLE BY", "WEIGHTS", "ON DISK", "ON DEVICE", "STATE", "ADAPTERS", "PRICE",
    "SOURCE",
)  # fmt: skip
OPTIONAL = ("ON DISK", "ON DEVICE", "ADAPTERS", "PRICE")  # left out if no model has any


@click.command()
@with_single_model
def models(settings: Settings) -> None:
    """Show a table of models and routes."""
    with reading(settings) as system:
        rows = [*_models(system), *_routes(system)]
        empty = [at for at, name in enumerate(HEADINGS) if name in OPTIONAL and all(row[at] == "-" for row in rows)]
        show([[cell for at, cell in enumerate(row) if at not in empty] for row in (HEADINGS, *rows)])


def _models(system: System) -> Sequence[tuple[str, ...]]:
    engines = system.engines.alive()
    footprints = Footprints(system.plugins, system.weights)
    where = tuple(sorted({engine.device for engine in engines})) or devices(())
    served = [
        (
            _marked(system, model.name),
            model.modality.word,
            model.backend,
            _runs_on(system, model, engines),
            system.weights.state(model),
            *_footprint(footprints.of(model, where)),
            _state(model.name, engines),
            _adapters(system, model),
            "-" if model.price is None else f"{model.price:.10g}",
            str(system.weights.locate(model) or model.source or "-"),
        )
        for model in system.registries.poll().models
    ]
    broken = [
        (
            _marked(system, model.name),
            model.modality.word if model.modality else "-",
            model.backend,
            "-",
            model.state,
            "-",
            "-",
            "-",
            "-",
            "-",
            model.source or "-",
        )
        for model in system.registries.poll().broken
    ]
    return served + broken


def _footprint(footprint: Footprint) -> tuple[str, str]:
    """Return the bytes of a model's weights on disk and on devices."""
    return disk_use.summary(footprint.on_disk) or "-", footprint.devices or "-"


def _runs_on(system: System, model: ModelSpec, engines: Sequence[EngineState]) -> str:
    """Return the backends able to run a model, or its own's missing requirements."""
    backends = system.plugins.backends
    served = any(model.name in engine.models for engine in engines)  # maybe by another Python
    able = [
        name
        for name in system.weights.engines(model)
        if not missing(backends[name]) or (served and name == model.backend)
    ]
    own = backends[model.backend]
    lack = f"{own.name} needs {', '.join(missing(own))}" if missing(own) and not served else ""
    return ", ".join([*([f"({lack})"] if lack else []), *able]) or "-"


def _adapters(system: System, model: ModelSpec) -> str:
    """Return a model's adapters, with the state of files that are not here."""
    shown = []
    for adapter in model.adapters:
        state = system.weights.adapter_state(model, adapter)
        shown.append(adapter.name if state in READY else f"{adapter.name} ({state})")
    return ", ".join(shown) or "-"


def _state(name: str, engines: Sequence[EngineState]) -> str:
    """Return a model's engines, memory and code paths, or `cold`."""
    states = []
    for engine in engines:
        if name in engine.resident:
            held = engine.memory.get(name, ResidentBytes(0, 0))
            shared = f" + {format_bytes(held.shared)} shared" if held.shared else ""
            paths = _paths(engine.paths.get(name, {}))
            states.append(f"loaded on {engine.device} ({format_bytes(held.owned)}{shared}{paths})")
        elif name in engine.too_large:
            states.append(f"too large for {engine.device}: it {engine.too_large[name]}")
        elif name in engine.warm:
            states.append(f"warm beside {engine.device}")
    return ", ".join(states) or "cold"


def _paths(paths: Mapping[str, PartPath]) -> str:
    """Return the code path of each part, or one path common to all."""
    shown = {part: f"{path.path}: {path.reason}" if path.reason else path.path for part, path in paths.items()}
    if len(set(shown.values())) == 1:
        return f", {next(iter(shown.values()))}"
    return "".join(f", {part} {path}" for part, path in shown.items())


def _routes(system: System) -> Sequence[tuple[str, ...]]:
    return [
        (_marked(system, route.name), "route", *["-"] * (len(HEADINGS) - 3), ", ".join(route.members))
        for route in system.registries.poll().routes
    ]


def _marked(system: System, name: str) -> str:
    return f"{name} (default)" if name == system.registries.poll().default else name
