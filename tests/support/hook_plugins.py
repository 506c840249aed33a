"""Plugins of one hook, and a call of each hook."""

from collections.abc import Callable, Iterator
from typing import Any

import click

from registry import Defaults, FlowShift, Input, Limits, Modality, ModelSpec
from router import Backend, Job, Task, hookimpl
from router.plugins import Plugins

DEFAULTS = Defaults(64, 64, 5, 8, 4, 4.0, None, FlowShift(3, 3), "")
MODEL = ModelSpec("m", "mine", Modality.T2V, DEFAULTS, Limits(9999, 9, 9), 16)
TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
JOB = Job("0" * 32, "me", "m", TASK)


class Mine:
    """The backend of the model."""

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("mine", frozenset({Modality.T2V}))


CALLS: dict[str, Callable[[Plugins], object]] = {
    "job_changed": lambda plugins: plugins.announce(JOB),
    "check_request": lambda plugins: plugins.hook_for("check_request", MODEL)(model=MODEL, task=TASK),
    "unload_model": lambda plugins: plugins.unload(MODEL, None, gone=True),
    "configure_app": lambda plugins: plugins.configure(object()),
    "add_commands": lambda plugins: plugins.add_commands(click.Group()),
}
LISTENERS = ("job_changed", "unload_model", "configure_app", "add_commands")


def plugin(hook: str, function: Callable[..., Any], **options: Any) -> object:
    """Make a plugin of one hook."""
    return type("Plugin", (), {hook: hookimpl(**options)(staticmethod(function))})()


def plain(hook: str, heard: list[str], name: str, **options: bool) -> object:
    return plugin(hook, lambda: heard.append(name), **options)


def around(hook: str, heard: list[str], name: str, **options: bool) -> object:
    def wrapper() -> Iterator[Any]:
        heard.append(f"{name} before")
        outcome = yield
        heard.append(f"{name} after")
        return outcome

    return plugin(hook, wrapper, **options)
