"""Guards: a listener that raises does not silence the others."""

from collections.abc import Callable, Iterator
from typing import Any

import pluggy
import pytest
from support.hook_plugins import CALLS, JOB, LISTENERS, Mine, around, plain, plugin

from router.errors import BootError
from router.plugins import Plugins


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
