"""`framegate plan`: the models that fit on a card, and changes for others."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import click

from registry import BrokenModel, ModelSpec, RegistryError, Route, folders, part_files
from registry.backends import Backends
from registry.families import EMBEDDED, FAMILIES, find
from registry.loader import load_one
from registry.source import is_hub_id
from router.catalog.fit import Budget, verdict
from router.catalog.weights import Weights
from router.cli.options import with_settings
from router.cli.plan_report import Card, Unplanned, as_json, show_report
from router.engine.device import devices, total_memory
from router.errors import BootError, UnknownModel
from router.plugins import Plugins
from router.plugins import find as find_plugins
from router.runtime.byte_size import ByteSize
from router.settings import Settings
from router.system import read

GPU = "cuda:0"  # the device of a card that may be elsewhere


class Bytes(click.ParamType[int]):
    """A byte size above 0."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            size = ByteSize.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if size.unit == "%" or size.of(0) <= 0:
            self.fail(f"must be a byte size above 0, such as 24GB, got {value!r}", param, ctx)
        return size.of(0)


class Device(NamedTuple):
    """A device and its card; the host's memory is None if unknown."""

    name: str
    card: Card
    host: int | None


@click.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--memory", type=Bytes(), metavar="SIZE", help="Memory of the card, such as 24GB. [this machine's GPU]")
@click.option("--host", type=Bytes(), metavar="SIZE", help="Memory of its machine. [this machine's, for its GPU]")
@click.option("--json", "in_json", is_flag=True, help="Print one JSON object.")
@with_settings
def plan(settings: Settings, names: tuple[str, ...], memory: int | None, host: int | None, in_json: bool) -> None:
    """Show which models fit on a card, and how others would.

    MODEL is a model or route of the models file, a family such as wan2.1-t2v-14b, a hub id or a folder; nothing is
    fetched. Without any, all models of the file are planned together. Bytes of weights are those of the files' headers,
    or of the shapes that a family was published with; all other bytes are estimates.
    """
    device = _device(memory, host)
    budget = Budget.of(settings, device.card.total, device.host)
    plugins = Plugins(find_plugins(settings.plugins))
    with _weights(plugins) as weights:
        verdicts, unplanned = [], []
        for model in {each.name: each for each in _models(settings, plugins, names)}.values():
            if isinstance(model, BrokenModel):
                unplanned.append(Unplanned(model.name, model.state))
            elif (found := plugins.plan(_with_folder(model, weights), device.name)) is None:
                unplanned.append(Unplanned(model.name, _reason(model)))
            else:
                verdicts.append(verdict(model, found, budget))
    if in_json:
        click.echo(json.dumps(as_json(device.card, budget, verdicts, unplanned, settings.resident_models), indent=2))
    else:
        show_report(device.card, budget, verdicts, unplanned, settings.resident_models)


def _device(memory: int | None, host: int | None) -> Device:
    if memory is not None:
        return Device(GPU, Card(memory), host)
    gpus = {name: total_memory(name) for name in devices(()) if name != "cpu"}
    known = {name: total for name, total in gpus.items() if total is not None}
    if not known:
        lack = "the memory of its GPUs is unknown" if gpus else "it has no NVIDIA GPU"
        raise BootError(f"a card's memory is needed, such as --memory 24GB: for this machine there is none, {lack}")
    name = min(known, key=lambda each: known[each])  # what fits on the smallest fits on all
    smallest = f"{name}, the smallest of {len(known)} GPUs" if len(known) > 1 else name
    return Device(name, Card(known[name], smallest), total_memory("cpu") if host is None else host)


@contextmanager
def _weights(plugins: Plugins) -> Iterator[Weights]:
    """Yield this machine's weights; the package's are linked for the block."""
    with TemporaryDirectory(prefix="framegate-") as folder:
        yield Weights(Path(folder), plugins.backends)


def _with_folder(model: ModelSpec, weights: Weights) -> ModelSpec:
    if model.source is not None and model.source.startswith(EMBEDDED):
        return replace(model, folder=weights.find(model))
    folder = weights.snapshot(model)
    here = folder is not None and os.path.isdir(folder) and not folders.missing(folder, part_files.paths(model.parts))
    return replace(model, folder=folder if here else None)


def _models(settings: Settings, plugins: Plugins, names: Sequence[str]) -> Iterator[ModelSpec | BrokenModel]:
    registry = read(settings, plugins.known)
    if not names:
        yield from registry.models
        yield from registry.broken
    for name in dict.fromkeys(names):
        entry = registry.find(name)
        if isinstance(entry, Route):
            yield from registry.members(entry)
            yield from registry.broken_members(entry)
        elif entry is not None:
            yield entry
        else:
            yield _unlisted(name, settings, plugins.known, [each.name for each in registry.entries])


def _unlisted(name: str, settings: Settings, backends: Backends, listed: Sequence[str]) -> ModelSpec:
    """Return the model of a family, a hub id or a folder."""
    family = find(name)
    if family is None and not is_hub_id(name) and not os.path.isdir(os.path.expanduser(name)):
        families = ", ".join(each.name for each in FAMILIES)
        raise UnknownModel(
            f"no model is called {name!r}; the models file has {', '.join(listed)}; families: {families}"
        )
    try:
        (model,) = load_one(family.source if family else name, settings.backend, backends).models
    except RegistryError as error:
        raise UnknownModel("; ".join(problem.message for problem in error.problems)) from error
    return replace(model, name=name) if family else model


def _reason(model: ModelSpec) -> str:
    if model.source is None:
        return f"the backend {model.backend} has no weights"
    return f"its weights are not here, and the backend {model.backend} knows no published shapes of {model.source}"
