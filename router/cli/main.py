"""`framegate`: its subcommands, its error messages, and the lookup of models."""

import os
import sys
from dataclasses import replace
from importlib import import_module

import click
from sqlalchemy.exc import SQLAlchemyError

from registry import BrokenModel, ModelSpec, RegistryError, Route
from registry.source import is_hub_id
from router.catalog.adapters import READY
from router.cli.options import REPORTING, share
from router.errors import LoadFailed, RouterError, UnknownModel, is_damaged, is_disk_full, is_unwritable, reason
from router.plugins import Plugins, find
from router.runtime.release import installed_version
from router.settings import Settings
from router.system import System, reading

NAMES_OF_MODULES = (
    "reload", "models", "check", "doctor", "pull", "plan", "generate", "keys", "owners", "usage", "store", "deploy",
)  # fmt: skip
COMMANDS = {  # by module: a command imports no other's
    "serve": "processes",
    "web": "processes",
    "engine": "processes",
    "new-plugin": "new_plugin",
    **{name: name for name in NAMES_OF_MODULES},
}


class Commands(click.Group):
    """Imports the module of a command of ours when it is needed."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        command = super().get_command(ctx, name)
        if command is None or command is not OURS.get(name):
            return command  # a plugin's
        found: click.Command = getattr(import_module(f"router.cli.{COMMANDS[name]}"), name.replace("-", "_"))
        return found


OURS = {name: click.Command(name) for name in COMMANDS}


def _show_version(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"framegate {installed_version()}")
        context.exit()


@click.group(
    cls=Commands,
    commands=list(OURS.values()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version."
)
def cli() -> None:
    """Serve generated video: many models, one URL."""


def _add_commands_of_plugins() -> None:
    ours = set(cli.commands)
    plugins = Plugins(find(Settings.from_environ().plugins))
    plugins.add_commands(cli)
    for name in cli.commands.keys() - ours:
        share(cli.commands[name])
    if not set(sys.argv[1:2]) & set(REPORTING):
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


def find_model(name: str) -> ModelSpec:
    """Return a model with its folder, and the files of its adapters here.

    `name` is one of the models file, a hub id or a folder. The folder may belong to another backend than the model's.
    Nothing is downloaded: raises `UnknownModel`, `DownloadFailed` for missing weights and `LoadFailed` for broken ones.
    """
    settings = Settings.from_environ()
    with reading(settings) as system:
        known = system.registries.poll().find(name)
        if known is not None or not (os.path.isdir(name) or is_hub_id(name)):
            return _with_folder(system, known, name)
    with reading(replace(settings, model=name)) as system:
        return _with_folder(system, system.registries.poll().models[0], name)


def _with_folder(system: System, entry: ModelSpec | BrokenModel | Route | None, name: str) -> ModelSpec:
    if isinstance(entry, BrokenModel):
        raise LoadFailed(str(entry.problem))
    if entry is None or isinstance(entry, Route):
        served = ", ".join(model.name for model in system.registries.poll().models)
        what = f"{name} is a route" if entry else f"no model is called {name!r}"
        raise UnknownModel(f"{what}; the models file has {served}")
    model = replace(entry, folder=system.weights.find(entry), download=False)
    here = [each.name for each in entry.adapters if system.weights.adapter_state(entry, each) in READY]
    return system.weights.obtain_adapters(model, here, lambda done, total: None)
