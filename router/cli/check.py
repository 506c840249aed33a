"""`framegate check`: is the models file right? Every problem at once."""

from __future__ import annotations

import click

from router.cli.options import with_single_model
from router.plugins import missing
from router.settings import Settings
from router.system import assemble


@click.command()
@with_single_model
def check(settings: Settings) -> None:
    """Validate settings, plugins and the models file; exit with a status above 0 when something is wrong."""
    system = assemble(settings)
    registry = system.registry
    for backend in system.plugins.backends.values():
        if lacking := missing(backend):
            advice = f"; pip install 'framegate[{backend.extra}]'" if backend.extra else ""
            click.echo(f"note: the backend {backend.name} needs {', '.join(lacking)}{advice}")
    counted = f"{len(registry.models)} models, {len(registry.routes)} routes"
    click.echo(f"{registry.file or settings.model}: {counted}, no problem")
