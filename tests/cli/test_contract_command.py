"""`framegate check --contract` of a backend that cannot be loaded: one line about it."""

import os
import subprocess
from pathlib import Path

import pytest
from support.server import FRAMEGATE, ROOT

pytestmark = pytest.mark.slow
PLUGIN = """
import os
from router import Backend, Modality, hookimpl
@hookimpl
def declare_backend(): return Backend("mine", frozenset({Modality.T2V}))
@hookimpl
def load_model():
    CODE
"""
MODELS = """
models:
  m: {backend: mine, modality: t2v, aliases: [n], defaults: {width: 16, height: 16, num_frames: 5, steps: 2}}
  gone: {backend: mine, modality: t2v, source: ./nowhere}
routes:
  all: [m]
"""
GONE = "note: gone is not checked: its weights are missing"


def run(
    tmp_path: Path, code: str, backend: str = "mine", name: str = "mine.py", models: str = MODELS
) -> subprocess.CompletedProcess[str]:
    """Check the contract of a backend whose load has this code."""
    (tmp_path / name).write_text(PLUGIN.replace("CODE", code))
    (tmp_path / "models.yaml").write_text(models)
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FRAMEGATE_DATA": str(tmp_path / "data"),
        "FRAMEGATE_MODELS": str(tmp_path / "models.yaml"),
        "FRAMEGATE_PLUGINS": str(tmp_path),
    }
    command = [*FRAMEGATE, "check", "--contract", backend]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import nowhere_at_all", "m: load: BROKEN: ModuleNotFoundError: No module named 'nowhere_at_all' (mine.py:8)"),
        ("raise SystemExit(0)", "m: load: BROKEN: SystemExit: 0 (mine.py:8)"),
        ("os._exit(0)", "m: load: BROKEN: the backend ended its process, with exit status 0"),
        ("os.abort()", "m: load: BROKEN: the backend ended its process, by SIGABRT"),
    ],
)
def test_a_load_that_ends_early_is_one_line(tmp_path: Path, code: str, line: str) -> None:
    done = run(tmp_path, code)

    assert done.stdout.splitlines()[1:] == [GONE, line]
    assert done.stderr == "framegate: the backend mine does not keep its contract\n"
    assert done.returncode == 1


def test_what_a_backend_prints_is_not_among_the_results(tmp_path: Path) -> None:
    done = run(tmp_path, "print('noise')")

    assert "noise" in done.stderr
    assert "noise" not in done.stdout


def test_a_fork_that_comes_back_answers_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "os.fork()\n    return 1")

    assert "m: load: done" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n", "--contract needs the name of a backend, got 'n', a model of the backend mine"),
        ("all", "--contract needs the name of a backend, got 'all', a route"),
        ("nobody", "no backend is called 'nobody'; there are"),
    ],
)
def test_a_name_that_is_no_backend_is_refused(tmp_path: Path, name: str, message: str) -> None:
    done = run(tmp_path, "return 1", name)

    assert message in done.stderr
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


def test_a_backend_out_of_service_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "far.py").write_text("import nowhere_at_all\n")
    done = run(tmp_path, "return 1", "far")

    wanted = "framegate: --contract needs a backend that is in service, got 'far': the plugin "
    assert done.stderr == (
        f"{wanted}{tmp_path}/far.py is out of service: it cannot be imported: ModuleNotFoundError: No module named "
        "'nowhere_at_all'; mend it, or take it out of --plugin or FRAMEGATE_PLUGINS\n"
    )
    assert done.returncode == 1


def test_a_model_with_the_name_of_a_backend_out_of_service_gets_the_reason(tmp_path: Path) -> None:
    (tmp_path / "bar.py").write_text("import nowhere_at_all\n")
    done = run(tmp_path, "return 1", "bar", models=MODELS.replace("  gone: {backend: mine", "  bar: {backend: bar"))

    assert "--contract needs a backend that is in service, got 'bar': the plugin" in done.stderr
    assert "No module named 'nowhere_at_all'" in done.stderr


def test_the_second_of_two_backends_of_one_name_is_out_and_the_first_is_checked(tmp_path: Path) -> None:
    (tmp_path / "second.py").write_text(PLUGIN.replace("CODE", "raise ValueError('second')"))
    done = run(tmp_path, "raise ValueError('first')", name="a.py")

    assert "two plugins declare the backend 'mine', this one and" in done.stdout
    assert "m: load: BROKEN: ValueError: first (a.py:8)" in done.stdout
