"""`framegate pull`: fetch a model's weights, with a progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import click

from registry import BrokenModel, ModelSpec, Route
from registry.source import is_hub_id
from router.catalog.download import snapshot
from router.cli.options import with_settings
from router.errors import UnknownModel
from router.settings import Settings
from router.system import System, assemble


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="MODEL...")
@with_settings
def pull(settings: Settings, names: tuple[str, ...]) -> None:
    """Fetch weights from the hub.

    MODEL is a name from the models file, a route, or a hub id; the files go into the hub's local cache.
    What broke off goes on where it was, and what an engine fetches already is waited for.
    """
    system = assemble(settings, serving=False)
    for name in names:
        for model in _named(system, name):
            if is_hub_id(model.source):
                click.echo(f"{model.name}: {_pull(str(model.source), model.revision)}")
            elif isinstance(model, ModelSpec):
                click.echo(f"{model.name}: nothing to fetch, its weights are {system.weights.state(model)}")
            elif isinstance(model, BrokenModel):
                click.echo(f"{model.name}: nothing to fetch, its weights are {model.state}")


class Repository(NamedTuple):
    """A hub repository that the models file does not have."""

    name: str
    source: str
    revision: None = None


def _named(system: System, name: str) -> Sequence[ModelSpec | BrokenModel | Repository]:
    """Return the model called `name`, the members of a route, or a hub id that the models file does not have."""
    registry = system.registries.poll()
    entry = registry.find(name)
    if isinstance(entry, Route):
        return (*registry.members(entry), *registry.broken_members(entry))
    if entry is not None:
        return (entry,)
    if is_hub_id(name):
        return (Repository(name, name),)
    served = ", ".join(entry.name for entry in registry.entries)
    raise UnknownModel(f"no model is called {name!r}; the models file has {served}")


def _pull(repo: str, revision: str | None) -> str:
    with click.progressbar(length=1, label=repo, show_eta=True) as bar:

        def report(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        return str(snapshot(repo, revision, report))
