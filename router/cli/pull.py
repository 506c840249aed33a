"""`framegate pull`: fetch a model's weights, with a progress bar."""

from collections.abc import Sequence
from pathlib import Path

import click

from registry import Adapter, BrokenModel, ModelSpec, Registry, Route
from registry.parts import PartFile
from registry.source import is_hub_id
from router.catalog import parts
from router.catalog.download import MODEL, Selection, snapshot
from router.cli.options import with_settings
from router.errors import UnknownModel
from router.settings import Settings
from router.system import System, reading


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="MODEL...")
@with_settings
def pull(settings: Settings, names: tuple[str, ...]) -> None:
    """Download weights from the hub.

    MODEL is a model or route of the models file, or a hub id; the files go into the hub's local cache, with those of
    the model's parts and adapters. Weights that a part's file replaces are left out. An interrupted download is
    resumed; a download by an engine is waited for.
    """
    with reading(settings) as system:
        for name in names:
            _pull_named(system, name)


def _pull_named(system: System, name: str) -> None:
    """Fetch the models of a name, or a repository, and print their folders."""
    registry = system.registries.poll()
    if registry.find(name) is None and is_hub_id(name):
        click.echo(f"{name}: {_pull(name, None)}")
        return
    for model in _named(registry, name):
        for part, file in model.parts.items():  # before the base: see catalog/parts.py
            click.echo(f"{model.name}: part {part}: {_pull_part(file)}")
        if is_hub_id(model.source):
            click.echo(
                f"{model.name}: {_pull(str(model.source), model.revision, Selection(without=tuple(model.parts)))}"
            )
        elif not any(file.file for file in model.parts.values()):
            state = model.state if isinstance(model, BrokenModel) else system.weights.state(model)
            click.echo(f"{model.name}: nothing to fetch, its weights are {state}")
        if isinstance(model, ModelSpec):
            for adapter in model.adapters:
                click.echo(f"{model.name}: adapter {adapter.name}: {_pull_adapter(system, model, adapter)}")


def _named(registry: Registry, name: str) -> Sequence[ModelSpec | BrokenModel]:
    """Return the model `name`, or the members of a route."""
    entry = registry.find(name)
    if entry is None:
        served = ", ".join(entry.name for entry in registry.entries)
        raise UnknownModel(f"no model is called {name!r}; the models file has {served}")
    return (*registry.members(entry), *registry.broken_members(entry)) if isinstance(entry, Route) else (entry,)


def _pull_adapter(system: System, model: ModelSpec, adapter: Adapter) -> str:
    if is_hub_id(adapter.source):
        return _pull(adapter.source, adapter.revision, Selection(adapter.file_names))
    return f"nothing to fetch, its files are {system.weights.adapter_state(model, adapter)}"


def _pull_part(file: PartFile) -> str:
    if file.file:
        return str(Path(_pull(file.source, file.revision, Selection((file.file,))), file.file))
    return f"nothing to fetch, its file is {'here' if parts.is_here(file) else 'missing'}"


def _pull(repo: str, revision: str | None, selection: Selection = MODEL) -> str:
    with click.progressbar(length=1, label=repo, show_eta=True) as bar:

        def report(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        return str(snapshot(repo, revision, report, selection=selection))
