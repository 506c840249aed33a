"""`framegate pull`: fetch a model's weights, with a progress bar."""

from __future__ import annotations

import click

from registry import ModelSpec
from registry.source import is_hub_id
from router.cli.options import with_settings
from router.download import snapshot
from router.errors import UnknownModel
from router.settings import Settings
from router.system import System, assemble


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="MODEL...")
@with_settings
def pull(settings: Settings, names: tuple[str, ...]) -> None:
    """Fetch weights from the hub into its local cache, by names of the models file or hub ids."""
    system = assemble(settings)
    for name in names:
        source, revision = _source(system, name)
        if is_hub_id(source):
            click.echo(f"{name}: {_pull(source, revision)}")
        else:
            click.echo(f"{name}: nothing to fetch, its weights are {source}")


def _source(system: System, name: str) -> tuple[str, str | None]:
    """Return the source and revision of a model by name, or of a hub id that the models file does not have."""
    model = system.registry.find(name)
    if isinstance(model, ModelSpec):
        return model.source or "not needed", model.revision
    if is_hub_id(name):
        return name, None
    served = ", ".join(entry.name for entry in system.registry.models)
    raise UnknownModel(f"no model is called {name!r}; the models file has {served}")


def _pull(repo: str, revision: str | None) -> str:
    with click.progressbar(length=1, label=repo, show_eta=True) as bar:

        def report(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        return str(snapshot(repo, revision, report))
