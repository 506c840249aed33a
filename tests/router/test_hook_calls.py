"""pluggy orders, calls and wraps every hook; a listener that raises keeps no other from hearing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click
import pluggy
import pytest

from registry import Defaults, FlowShift, Input, Limits, Modality, ModelSpec
from router import Backend, Job, Refused, Task, hookimpl
from router.errors import BootError
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


class Other:
    """Another backend, which implements every hook that is called here."""

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


CALLS: dict[str, Callable[[Plugins], object]] = {
    "job_changed": lambda plugins: plugins.announce(JOB),
    "check_request": lambda plugins: plugins.hook_for("check_request", MODEL)(model=MODEL, task=TASK),
    "unload_model": lambda plugins: plugins.unload(MODEL, None, gone=True),
    "configure_app": lambda plugins: plugins.configure(object()),
    "add_commands": lambda plugins: plugins.add_commands(click.Group()),
}
LISTENERS = ("job_changed", "unload_model", "configure_app", "add_commands")
every_hook = pytest.mark.parametrize("hook", CALLS)


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


@every_hook
def test_implementations_run_in_the_order_of_pluggy_inside_their_wrappers(hook: str) -> None:
    heard: list[str] = []
    plugins = Plugins(
        [
            Mine(),
            *([Other(heard)] if hook == "check_request" else []),
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


def fails() -> Any:
    raise RuntimeError("broken")


def leaves() -> Any:
    raise SystemExit(3)


def fails_before() -> Iterator[Any]:
    fails()
    yield


def fails_after() -> Iterator[Any]:
    yield
    fails()


def never_yields() -> Iterator[Any]:
    if JOB.id == "":
        yield


def yields_twice() -> Iterator[Any]:
    yield
    yield


def forces_an_error() -> Iterator[Any]:
    outcome: pluggy.Result[Any] = yield
    outcome.force_exception(RuntimeError("forced"))


BAD: dict[str, tuple[Callable[[], Any], dict[str, bool]]] = {
    "plain": (fails, {}),
    "plain, first": (fails, {"tryfirst": True}),
    "that leaves": (leaves, {"tryfirst": True}),
    "new wrapper, before": (fails_before, {"wrapper": True}),
    "new wrapper, after": (fails_after, {"wrapper": True}),
    "new wrapper without a yield": (never_yields, {"wrapper": True}),
    "new wrapper with two": (yields_twice, {"wrapper": True}),
    "old wrapper, before": (fails_before, {"hookwrapper": True}),
    "old wrapper, after": (fails_after, {"hookwrapper": True}),
    "old wrapper without a yield": (never_yields, {"hookwrapper": True}),
    "old wrapper with two": (yields_twice, {"hookwrapper": True}),
    "old wrapper that forces an error": (forces_an_error, {"hookwrapper": True}),
}


@pytest.mark.parametrize("hook", LISTENERS)
@pytest.mark.parametrize("bad", BAD)
def test_a_listener_that_raises_keeps_no_other_from_hearing(
    hook: str, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    function, options = BAD[bad]
    heard: list[str] = []
    plugins = Plugins(
        [
            Mine(),
            plain(hook, heard, "last", trylast=True),
            around(hook, heard, "inner", wrapper=True),
            broken := plugin(hook, function, **options),
            around(hook, heard, "old", hookwrapper=True),
            around(hook, heard, "new", wrapper=True),
            plain(hook, heard, "plain"),
        ]
    )
    if hook == "configure_app":
        with pytest.raises(BootError, match=r"Plugin object at .*: configure_app raised"):
            CALLS[hook](plugins)
    else:
        CALLS[hook](plugins)

    assert heard == [
        "new before", "old before", "inner before",
        "plain", "last",
        "inner after", "old after", "new after",
    ]  # fmt: skip
    if hook in ("job_changed", "unload_model"):
        assert f"the plugin {broken!r} failed to " in caplog.text
        assert {"job_changed": JOB.id, "unload_model": "unload m, which counts as gone"}[hook] in caplog.text
    if hook == "add_commands":
        assert [each.origin for each in plugins.broken] == [repr(broken)]


def test_a_failure_is_logged_where_pluggy_is_called_directly(caplog: pytest.LogCaptureFixture) -> None:
    Plugins([plugin("job_changed", fails)]).hook.job_changed(job=JOB)

    assert "failed: job_changed raised RuntimeError: broken" in caplog.text


@pytest.mark.parametrize("hook", LISTENERS)
def test_ctrl_c_passes_through_every_guard(hook: str) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    heard: list[str] = []
    listeners = [plugin(hook, interrupted), around(hook, heard, "old", hookwrapper=True)]
    with pytest.raises(KeyboardInterrupt):
        CALLS[hook](Plugins([Mine(), *listeners]))
    assert heard == ["old before", "old after"]


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


def test_a_wrapper_keeps_no_failure_of_authentication_from_stopping_the_boot() -> None:
    def swallows() -> Iterator[Any]:
        try:
            return (yield)
        except Exception:
            return []

    plugins = Plugins([plugin("configure_app", fails), plugin("configure_app", swallows, wrapper=True)])
    with pytest.raises(BootError, match="RuntimeError: broken"):
        plugins.configure(object())


@pytest.mark.parametrize(("function", "options"), [(fails_before, {"wrapper": True}), (fails_after, {"wrapper": True})])
def test_a_policy_that_fails_refuses_whatever_its_kind(function: Callable[[], Any], options: dict[str, bool]) -> None:
    plugins = Plugins([Mine(), plugin("check_request", function, **options)])
    with pytest.raises(RuntimeError, match="broken"):
        CALLS["check_request"](plugins)


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
