"""Plugins are found, and called by ownership; a wrong one is out of service."""

from dataclasses import replace
from pathlib import Path

import click
import pytest

from plugins import still_backend
from registry import Defaults, FlowShift, Input, Limits, Modality, ModelSpec
from router import Backend, Job, Task, hookimpl
from router.errors import BootError
from router.plugins import Plugins, find, missing

DEFAULTS = Defaults(64, 64, 5, 8, 4, 4.0, None, FlowShift(3, 3), "")
MODEL = ModelSpec("m", "still", Modality.T2V, DEFAULTS, Limits(9999, 9, 9), 16)
TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
JOB = Job("0" * 32, "me", "m", TASK)


class Other:
    """Another backend, with an answer for every model."""

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("other", frozenset({Modality.T2V}))

    @hookimpl
    def load_model(self, model: ModelSpec) -> str:
        return f"other loaded {model.name}"


class Listener:
    def __init__(self) -> None:
        self.heard: list[Job] = []

    @hookimpl
    def job_changed(self, job: Job) -> None:
        self.heard.append(job)

    @hookimpl
    def check_request(self, model: ModelSpec) -> None:
        self.heard.append(model)  # type: ignore[arg-type]


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text("from router import Backend, Modality, hookimpl\n" + text)
    return path


def test_the_owner_of_the_model_answers_and_no_other_backend() -> None:
    plugins = Plugins([still_backend, Other()])
    other = replace(MODEL, backend="other")

    load = plugins.hook_for("load_model", other)
    assert load(model=other, device="cpu", pool=None, report=lambda *_: None) == "other loaded m"
    load = plugins.hook_for("load_model", MODEL)
    assert load(model=MODEL, device="cpu", pool=None, report=lambda *_: None) == 0.0


def test_listeners_and_policies_hear_of_every_model() -> None:
    listener = Listener()
    plugins = Plugins([still_backend, Other(), listener])
    plugins.hook_for("check_request", MODEL)(model=MODEL, task=TASK)

    assert listener.heard == [MODEL]


def test_a_plugin_file_of_the_users_is_found_once(tmp_path: Path) -> None:
    path = write(tmp_path, "@hookimpl\ndef declare_backend(): return Backend('mine', frozenset({Modality.T2V}))\n")
    plugins = Plugins(find([path, tmp_path]))

    assert {"mine", "still", "diffusers"} <= set(plugins.backends)


DECLARE = "@hookimpl\ndef declare_backend(): return Backend('mine', frozenset({Modality.T2V}))\n"
BROKEN = {
    "one name twice": ("@hookimpl\ndef declare_backend(): return Backend('still', frozenset())\n", "two plugins declare the backend 'still'"),
    "a misspelt hook": (DECLARE + "@hookimpl\ndef load_modell(model): pass\n", "a hook that does not exist: load_modell"),
    "a misspelt argument": (DECLARE + "@hookimpl\ndef load_model(modell): pass\n", "modell"),
    "a hook without the mark": ("def declare_backend(): return Backend('mine', frozenset())\n", "declare_backend must be marked with @hookimpl"),
    "one of two without": (DECLARE + "def load_model(): return 1\n", "load_model must be marked with @hookimpl"),
    "no backend": ("@hookimpl\ndef declare_backend(): return 'mine'\n", "must return a Backend, got str"),
    "a name that is none": ("@hookimpl\ndef declare_backend(): return Backend('a b', frozenset())\n", "name must be letters"),
    "modalities that are text": ("@hookimpl\ndef declare_backend(): return Backend('mine', 't2v')\n", "modalities must be a frozenset"),
    "options that are no schema": ("@hookimpl\ndef declare_backend(): return Backend('mine', frozenset(), options={})\n", "options must be a class"),
    "a need that is text": ("@hookimpl\ndef declare_backend(): return Backend('mine', frozenset(), requires='sys')\n", "requires must be a tuple"),
    "a missing module": ("import nowhere_to_be_found\n", "cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    "one that leaves": ("raise SystemExit(3)\n", "cannot be imported: SystemExit: 3"),
    "one that stops a generator": ("raise GeneratorExit\n", "cannot be imported: GeneratorExit"),
    "one that raises": ("@hookimpl\ndef declare_backend(): raise KeyError('x')\n", "declare_backend raised KeyError: 'x'"),
    "one that leaves later": ("@hookimpl\ndef declare_backend(): raise SystemExit\n", "declare_backend raised SystemExit"),
    "no python": ("def broken(:\n", "cannot be imported: SyntaxError"),
    "not even text": ("\0", "cannot be imported"),
    "endless recursion": ("def f(): f()\nf()\n", "cannot be imported: RecursionError"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_wrong_plugin_is_out_of_service_alone_and_says_why(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    good = write(tmp_path, DECLARE.replace("mine", "good"), "good.py")
    plugins = Plugins(find([path, good]))

    assert set(plugins.backends) == {"still", "diffusers", "onnxruntime", "good"}
    (broken,) = plugins.broken
    assert (broken.name, broken.origin, broken.guards) == ("mine", str(path), False)
    assert message in broken.reason
    assert str(broken).startswith(f"the plugin {path} is out of service: ")
    assert "\n" not in str(broken)
    assert str(tmp_path) not in broken.lost.reason
    plugins.configure(object())  # the web half starts


def test_of_a_wrong_plugin_no_hook_is_called(tmp_path: Path) -> None:
    text = "@hookimpl\ndef job_changed(job): raise SystemExit('heard')\n@hookimpl\ndef load_modell(model): pass\n"
    plugins = Plugins([*find([write(tmp_path, text)]), listener := Listener()])
    plugins.announce(JOB)

    assert len(plugins.broken) == 1
    assert [one.plugin for one in plugins.hook.job_changed.get_hookimpls()] == [listener]


def test_ctrl_c_while_a_plugin_is_imported_is_nobodys_fault(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        find([write(tmp_path, "raise KeyboardInterrupt\n")])


GUARDS = {
    "a policy that cannot be imported": "import nowhere_to_be_found\n@hookimpl\ndef check_request(model): pass\n",
    "authentication that cannot": "import nowhere_to_be_found\n@hookimpl\ndef configure_app(app): pass\n",
    "a policy that is no Python": "@hookimpl\ndef check_request(model, task):\npass\n",
    "a policy with a misspelt argument": "@hookimpl\ndef check_request(modell): pass\n",
    "a policy without the mark": "def check_request(model): pass\n",
    "a misspelt policy": "@hookimpl\ndef check_requst(model): pass\n",
    "authentication that fails": "@hookimpl\ndef configure_app(app): raise SystemExit(3)\n",
    "authentication beside a broken backend": "@hookimpl\ndef configure_app(app): pass\n@hookimpl\ndef declare_backend(): return 1\n",
}  # fmt: skip


@pytest.mark.parametrize("text", GUARDS.values(), ids=GUARDS)
def test_without_a_plugin_that_may_refuse_requests_none_are_taken(tmp_path: Path, text: str) -> None:
    plugins = Plugins(find([write(tmp_path, text)]))

    assert "still" in plugins.backends  # commands and engines go on
    with pytest.raises(BootError, match=r"mine\.py"):
        plugins.configure(object())


def test_a_broken_backends_own_policy_is_not_missed(tmp_path: Path) -> None:
    text = "import nowhere_to_be_found\n@hookimpl\ndef check_request(model): pass\n" + DECLARE
    Plugins(find([write(tmp_path, text)])).configure(object())


def test_a_place_without_a_plugin_may_have_been_a_policy(tmp_path: Path) -> None:
    plugins = Plugins(find([tmp_path / "nothing.py"]))

    assert "got nothing there" in plugins.broken[0].reason
    with pytest.raises(BootError, match="got nothing there"):
        plugins.configure(object())


def test_a_folder_may_have_no_plugin(tmp_path: Path) -> None:
    assert Plugins(find([tmp_path])).broken == ()


@pytest.mark.parametrize("raised", ["RuntimeError('no')", "SystemExit(3)"])
def test_a_plugin_whose_commands_fail_has_none_and_ours_stay(tmp_path: Path, raised: str) -> None:
    text = "@hookimpl\ndef add_commands(cli):\n    cli.commands['mine'] = cli.commands['keys'] = 1\n    raise " + raised
    other = (
        "import click\n@hookimpl\ndef add_commands(cli):\n    cli.commands.pop('keys')\n"
        "    cli.commands |= {'other': click.Command('other'), 'none': 2}\n"
    )
    plugins = Plugins(find([write(tmp_path, text), write(tmp_path, other, "other.py")]))
    cli = click.Group(commands={"keys": (ours := click.Command("keys"))})  # type: ignore[dict-item]
    plugins.add_commands(cli)

    assert set(cli.commands) == {"keys", "other", "convert", "export"}
    assert cli.commands["keys"] is ours
    assert [broken.name for broken in plugins.broken] == ["mine"]


def test_a_plugin_file_may_hold_a_dataclass(tmp_path: Path) -> None:
    text = "from dataclasses import dataclass\n@dataclass\nclass Mine:\n    a: int\n"
    path = tmp_path / "mine.py"
    path.write_text("from __future__ import annotations\n" + text)

    assert len(find([path])) > len(find([]))
    assert find([path])[-1] is find([path])[-1]  # and it is imported once


def test_what_a_backend_needs_and_lacks_is_named() -> None:
    assert missing(Backend("b", frozenset(), requires=("sys", "nowhere_to_be_found"))) == ("nowhere_to_be_found",)
    for module in ("nowhere.to_be_found", "sys.nowhere", "json.nowhere", ""):
        assert missing(Backend("b", frozenset(), requires=(module,))) == (module,)
