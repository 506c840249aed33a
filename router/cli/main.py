"""`framegate`: its subcommands and its error messages."""

from __future__ import annotations

import sys

import click
from sqlalchemy.exc import SQLAlchemyError

from registry import RegistryError
from router.cli import check, deploy, doctor, generate, keys, models, processes, pull, reload
from router.cli.lookup import find_model
from router.cli.options import share
from router.errors import RouterError, is_damaged, is_disk_full, is_unwritable, reason
from router.plugins import Plugins, find
from router.settings import Settings

REPORTING = (["serve"], ["web"], ["engine"], ["check"])  # they report broken plugins themselves


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="framegate")
def cli() -> None:
    """Serve generated video: many models, one URL."""


for command in (
    processes.serve,
    processes.web,
    processes.engine,
    reload.reload,
    models.models,
    check.check,
    doctor.doctor,
    pull.pull,
    generate.generate,
    keys.keys,
    deploy.deploy,
):
    cli.add_command(command)


def _add_commands_of_plugins() -> None:
    ours = set(cli.commands)
    plugins = Plugins(find(Settings.from_environ().plugins))
    plugins.add_commands(cli)
    for name in cli.commands.keys() - ours:
        share(cli.commands[name])
    if sys.argv[1:2] not in REPORTING:
        for broken in plugins.broken:
            print(f"framegate: {broken}", file=sys.stderr)


def main() -> None:
    """Run the command line; an error is one message and a nonzero exit status."""
    try:
        if sys.argv[1:2] != ["doctor"]:  # it reports settings and plugins itself
            _add_commands_of_plugins()
        cli(obj=find_model)
    except RegistryError as error:
        sys.exit(str(error))
    except RouterError as error:
        sys.exit(f"framegate: {error.message}")
    except (SQLAlchemyError, OSError) as error:
        if is_damaged(error):
            sys.exit(f"framegate: the job store cannot be read: {reason(error)}; 'framegate doctor' says what to do")
        if not (is_disk_full(error) or is_unwritable(error)):
            raise
        sys.exit(f"framegate: nothing could be written: {reason(error)}")
    except KeyboardInterrupt:
        sys.exit("stopped")
