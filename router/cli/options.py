"""Shared options of subcommands; each sets a variable inherited by child processes."""

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from router.auth.keys import NAME
from router.plugins import Plugins, find
from router.runtime import variables
from router.runtime.store_url import without_secrets
from router.settings import Settings, variable

REPORTING = ("serve", "web", "engine", "check", "doctor")  # they report broken plugins themselves
SHARED = {
    "models": click.option("--models", metavar="FILE", help="The models file. [FRAMEGATE_MODELS]"),
    "data": click.option("--data", metavar="FOLDER", help="The data folder. [FRAMEGATE_DATA]"),
    "plugins": click.option(
        "--plugin", "plugins", multiple=True, metavar="PATH", help="A plugin file or folder; repeatable."
    ),
}
SINGLE = click.option(
    "--model", "single", metavar="REPO_OR_FOLDER", help="Serve one model instead of a models file. [FRAMEGATE_MODEL]"
)
BACKEND = click.option("--backend", metavar="NAME", help="The backend of that one model. [FRAMEGATE_BACKEND]")


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the shared options and the resulting settings."""

    @functools.wraps(command)
    def run(**arguments: Any) -> Any:
        others = _without_shared(arguments)
        return command(Settings.from_environ(), **others)

    for option in reversed(SHARED.values()):
        run = option(run)
    return run


def share(command: click.Command) -> None:
    """Give a plugin's command and its subcommands the missing shared options."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            share(below)
        return
    own = {parameter.name for parameter in command.params}
    lacking = {name: option for name, option in SHARED.items() if name not in own}
    if not lacking:
        return  # all its own, or shared already under another name
    inner = command.callback or (lambda: None)

    @functools.wraps(inner)
    def run(**arguments: Any) -> Any:
        shared = {name: arguments.pop(name) for name in lacking}
        _without_shared({"plugins": (), **shared})
        return inner(**arguments)

    command.callback = run
    for option in lacking.values():
        option(command)


def _without_shared(arguments: dict[str, Any]) -> dict[str, Any]:
    """Move the shared options into the environment and return the other arguments."""
    # the environment reaches gunicorn's workers and the engines; arguments would not
    for option, setting in (("models", "models"), ("data", "data"), ("single", "model"), ("backend", "backend")):
        if (value := arguments.pop(option, None)) is not None:
            os.environ[variable(setting)] = value
    if plugins := arguments.pop("plugins"):
        known = os.environ.get(variable("plugins"), "")
        os.environ[variable("plugins")] = os.pathsep.join(filter(None, [known, *plugins]))
        if click.get_current_context().info_name not in REPORTING:
            _report_broken(variables.paths(known))
    return arguments


def _report_broken(reported: Iterable[Path]) -> None:
    """Print the broken plugins that are not among the `reported` ones."""
    before = Plugins(find(reported)).broken
    for broken in Plugins(find(variables.paths(os.environ[variable("plugins")]))).broken:
        if broken not in before:
            click.echo(f"framegate: {broken}", err=True)


def with_single_model(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the settings, with `--model` for a single model."""
    single: Callable[..., Any] = SINGLE(BACKEND(with_settings(command)))
    return single


def store_of(settings: Settings) -> str:
    """Return the name of the job store in messages."""
    return without_secrets(settings.store) if settings.store else str(settings.data)


def checked_name(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the name of a key or owner; raise `click.BadParameter` for any other text."""
    if value is not None and not NAME.fullmatch(value):
        wanted = "must be letters, digits and ._-, up to 64, and begin with a letter or digit"
        raise click.BadParameter(f"{wanted}, got {value!r}")
    return value
