"""Options that several subcommands share; each stands for a setting and goes on to child processes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import click

from router.settings import Settings, variable

SHARED = (
    click.option("--models", metavar="FILE", help="The models file. [FRAMEGATE_MODELS]"),
    click.option("--data", metavar="FOLDER", help="The data folder. [FRAMEGATE_DATA]"),
    click.option("--plugin", "plugins", multiple=True, metavar="PATH", help="A plugin file or folder; repeatable."),
)
SINGLE = click.option(
    "--model", "single", metavar="REPO_OR_FOLDER", help="One model instead of a models file. [FRAMEGATE_MODEL]"
)
BACKEND = click.option("--backend", metavar="NAME", help="The backend of that one model. [FRAMEGATE_BACKEND]")


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the settings of the environment with the shared options put over them."""

    @functools.wraps(command)
    def run(**arguments: Any) -> Any:
        for option, setting in (("models", "models"), ("data", "data"), ("single", "model"), ("backend", "backend")):
            if (value := arguments.pop(option, None)) is not None:
                os.environ[variable(setting)] = value
        if plugins := arguments.pop("plugins"):
            known = os.environ.get(variable("plugins"), "")
            os.environ[variable("plugins")] = os.pathsep.join(filter(None, [known, *plugins]))
        return command(Settings.from_environ(), **arguments)

    for option in reversed(SHARED):
        run = option(run)
    return run


def with_single_model(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `with_settings`, with `--model` for a server of one model."""
    single: Callable[..., Any] = SINGLE(BACKEND(with_settings(command)))
    return single
