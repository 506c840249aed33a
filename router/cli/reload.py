"""`framegate reload`: serve the current models file without a restart."""

import click

from registry.backends import AT_RELOAD
from router.cli.options import store_of, with_settings
from router.settings import Settings
from router.system import assemble


@click.command()
@with_settings
def reload(settings: Settings) -> None:
    """Serve the current models file without a restart.

    A file with a problem changes nothing: every problem is shown, and the exit status is 1. Accepted jobs finish with
    the models of their acceptance. Use the same options as for the start of the server.
    """
    system = assemble(settings, serving=False, advice=AT_RELOAD)
    for line in system.registries.reload():
        click.echo(line)
    if not system.engines.alive():
        click.echo(f"note: no engine runs on {store_of(settings)}; what starts there reads this")
