"""Plugins are found in three places, asked by ownership, and refused at boot when they are wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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
    """Another backend, which answers whatever it is asked."""

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


def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        @hookimpl
        def job_changed(self) -> None:
            raise RuntimeError("broken")

    listener = Listener()
    Plugins([Broken(), listener, Broken()]).announce(JOB)

    assert listener.heard == [JOB]
    assert "failed to hear" in caplog.text


def test_a_plugin_file_of_the_users_is_found_once(tmp_path: Path) -> None:
    path = write(tmp_path, "@hookimpl\ndef declare_backend(): return Backend('mine', frozenset({Modality.T2V}))\n")
    plugins = Plugins(find([path, tmp_path]))

    assert {"mine", "still", "diffusers"} <= set(plugins.backends)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@hookimpl\ndef declare_backend(): return Backend('still', frozenset())\n", "two plugins declare the backend 'still'"),
        ("@hookimpl\ndef load_modell(model): pass\n", "load_modell"),
        ("@hookimpl\ndef load_model(modell): pass\n", "modell"),
        ("@hookimpl\ndef declare_backend(): return 'mine'\n", "must return a Backend, got str"),
        ("import nowhere_to_be_found\n", "nowhere_to_be_found"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("@hookimpl\ndef declare_backend(): raise KeyError('x')\n", "declare_backend raised KeyError"),
        ("def broken(:\n", "SyntaxError"),
    ],
    ids=["one name twice", "a misspelt hook", "a misspelt argument", "no backend", "a missing module", "one that leaves", "one that raises", "no python"],
)  # fmt: skip
def test_a_wrong_plugin_stops_the_boot_and_says_why(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(BootError) as refused:
        Plugins(find([path]))
    assert message in refused.value.message
    assert "mine" in refused.value.message


def test_a_plugin_file_may_hold_a_dataclass(tmp_path: Path) -> None:
    text = "from dataclasses import dataclass\n@dataclass\nclass Mine:\n    a: int\n"
    path = tmp_path / "mine.py"
    path.write_text("from __future__ import annotations\n" + text)

    assert len(find([path])) > len(find([]))
    assert find([path])[-1] is find([path])[-1]  # and it is imported once


def test_a_place_without_a_plugin_stops_the_boot(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="got nothing there"):
        find([tmp_path / "nothing.py"])


def test_what_a_backend_needs_and_lacks_is_named() -> None:
    assert missing(Backend("b", frozenset(), requires=("sys", "nowhere_to_be_found"))) == ("nowhere_to_be_found",)


def test_an_installed_plugin_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "@hookimpl\ndef declare_backend(): return Backend('far', frozenset())\n", "far_away.py")
    info = tmp_path / "far_away-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far-away\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[framegate]\nfar = far_away\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert "far" in Plugins(find([])).backends
