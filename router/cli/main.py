"""`framegate`: its subcommands, and how it says what is wrong."""

from __future__ import annotations

import sys

import click

from registry import RegistryError
from router.cli import check, generate, models, processes, pull
from router.errors import RouterError
from router.plugins import Plugins, find
from router.settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="framegate")
def cli() -> None:
    """Serve generated video: many models, one URL."""


for command in (processes.serve, processes.engine, models.models, check.check, pull.pull, generate.generate):
    cli.add_command(command)


def main() -> None:
    """Run the command line; what is wrong is one message on standard error and an exit status above 0."""
    try:
        Plugins(find(Settings.from_environ().plugins)).hook.add_commands(cli=cli)
        cli()
    except RegistryError as error:
        sys.exit(str(error))
    except RouterError as error:
        sys.exit(f"framegate: {error.message}")
    except KeyboardInterrupt:
        sys.exit("stopped")
