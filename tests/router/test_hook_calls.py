"""pluggy orders, calls and wraps every hook."""

from collections.abc import Iterator
from typing import Any

import click
import pluggy
import pytest
from support.hook_plugins import CALLS, MODEL, Mine, around, plain, plugin

from registry import Modality, ModelSpec
from router import Backend, Refused, hookimpl
from router.plugins import Plugins


class Other:
    """Another backend, with the hooks about a model."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("other", frozenset({Modality.T2V}))

    @hookimpl
    def check_request(self) -> None:
        self._heard.append("other backend")

    @hookimpl
    def unload_model(self) -> None:
        self._heard.append("other backend")


@pytest.mark.parametrize("hook", CALLS)
def test_implementations_run_in_the_order_of_pluggy_inside_their_wrappers(hook: str) -> None:
    heard: list[str] = []
    plugins = Plugins(
        [
            Mine(),
            *([Other(heard)] if hook in ("check_request", "unload_model") else []),
            around(hook, heard, "new", wrapper=True),
            plain(hook, heard, "last", trylast=True),
            plain(hook, heard, "a"),
            plain(hook, heard, "first", tryfirst=True),
            around(hook, heard, "old", hookwrapper=True),
            around(hook, heard, "outermost", wrapper=True, tryfirst=True),
            plain(hook, heard, "b"),
        ]
    )
    CALLS[hook](plugins)

    assert heard == [
        "outermost before", "old before", "new before",
        "first", "b", "a", "last",
        "new after", "old after", "outermost after",
    ]  # fmt: skip


def test_listeners_take_the_arguments_they_name() -> None:
    heard: list[object] = []

    def wrapper(gone: bool, model: ModelSpec) -> Iterator[Any]:
        heard.append((gone, model.name))
        return (yield)

    plugins = Plugins(
        [
            Mine(),
            plugin("unload_model", wrapper, wrapper=True),
            plugin("unload_model", lambda loaded: heard.append(loaded)),
            plugin("unload_model", lambda: heard.append("nothing")),
            plugin("unload_model", lambda gone, loaded, model: heard.append((gone, loaded, model.name))),
        ]
    )
    plugins.unload(MODEL, "weights", gone=False)

    assert heard == [(False, "m"), (False, "weights", "m"), "nothing", "weights"]


def test_wrappers_see_what_a_policy_refuses() -> None:
    seen: list[str] = []

    def refuses() -> None:
        raise Refused("not here")

    def wrapper() -> Iterator[Any]:
        try:
            return (yield)
        except Refused as error:
            seen.append(error.message)
            raise

    def old() -> Iterator[Any]:
        outcome: pluggy.Result[Any] = yield
        seen.append(str(outcome.exception))

    plugins = Plugins(
        [
            Mine(),
            plugin("check_request", refuses),
            plugin("check_request", wrapper, wrapper=True),
            plugin("check_request", old, hookwrapper=True),
        ]
    )
    with pytest.raises(Refused, match="not here"):
        CALLS["check_request"](plugins)
    assert seen == ["not here", "not here"]


def test_a_wrapper_adds_commands_and_removes_none() -> None:
    def wrapper(cli: click.Group) -> Iterator[Any]:
        cli.add_command(click.Command("early"))
        result = yield
        cli.commands.clear()
        cli.add_command(click.Command("late"))
        return result

    def half(cli: click.Group) -> Iterator[Any]:
        cli.add_command(click.Command("half"))
        yield
        raise RuntimeError("broken")

    group = click.Group(commands={"keys": click.Command("keys")})
    plugins = Plugins(
        [
            plugin("add_commands", wrapper, wrapper=True),
            broken := plugin("add_commands", half, wrapper=True),
            plugin("add_commands", lambda cli: cli.add_command(click.Command("plain"))),
        ]
    )
    plugins.add_commands(group)

    assert set(group.commands) == {"keys", "early", "plain", "late"}
    assert [each.origin for each in plugins.broken] == [repr(broken)]


def test_a_declaration_is_asked_of_each_plugin_alone() -> None:
    class Wraps:
        @hookimpl(wrapper=True)
        def declare_backend(self) -> Iterator[Any]:
            yield
            return [Backend("stolen", frozenset())]

    plugins = Plugins([Mine(), Wraps()])

    assert plugins.hook_for("load_model", MODEL).name == "load_model"
    assert set(plugins.backends) == {"mine", "stolen"}
