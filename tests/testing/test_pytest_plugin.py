"""The pytest plugin for authors: one test for each rule and model."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.server import ROOT

from router.testing.contract import CHECKS

pytestmark = pytest.mark.slow
BACKEND = """
import os
import numpy as np
from router import Backend, Frames, Modality, hookimpl

@hookimpl
def declare_backend(): return Backend("mine", frozenset({Modality.T2V}))

@hookimpl
def load_model(model):
    LOAD
    return model

@hookimpl
def generate(task, report):
    for step in range(task.steps):
        STEP
        report(step + 1, task.steps)
    return Frames(pixels(task), task.num_frames, task.width, task.height, task.frames_per_second)

def pixels(task):
    rng = np.random.default_rng(task.seed)
    for n in range(task.num_frames):
        FRAME
        yield rng.integers(0, 256, (1, task.height, task.width, 3), np.uint8)
"""
MODELS = """
models:
  m: {backend: mine, modality: t2v, aliases: [n], defaults: {width: 16, height: 16, num_frames: 17, steps: 6}}
  gone: {backend: mine, modality: t2v, source: ./nowhere}
  other: {backend: still, modality: t2v}
routes:
  all: [other, m]
"""
TEST = """
import pytest

@pytest.mark.framegate(backend="mine", models="../models.yaml", plugins=["../mine.py"])
def test_contract(contract_rule):
    contract_rule()
"""
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run pytest on an author's package; return its status and output."""

    def run(load: str = "", step: str = "", frame: str = "", test: str = TEST, options: tuple[str, ...] = ()) -> tuple:
        tests = tmp_path / "tests"
        tests.mkdir()
        code = BACKEND.replace("LOAD", load or "pass").replace("STEP", step or "pass").replace("FRAME", frame or "pass")
        (tmp_path / "mine.py").write_text(code)
        (tmp_path / "models.yaml").write_text(MODELS)
        (tests / "conftest.py").write_text('pytest_plugins = ["router.testing.pytest_plugin"]\n')
        (tests / "test_contract.py").write_text(test)
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("FRAMEGATE_", "PYTEST_", "CI"))
        }
        environ |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # ours import for a second
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *options]
        ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
        return ended.returncode, ended.stdout + ended.stderr

    return run


def test_each_rule_has_a_line_of_its_own(run: Run) -> None:
    status, out = run()

    assert status == 0, out
    names = ["load", *(check.__name__ for check in CHECKS)]
    assert [name for name in names if f"test_contract[m-{name}] PASSED" not in out] == []
    assert f"{len(names)} passed" in out


@pytest.mark.parametrize(
    ("where", "code", "rule", "message"),
    [
        ("step", "if step == 5: raise ValueError('step 6')", "the_defaults_of_the_model_work",
         "m: the defaults of the model work: ValueError: step 6 (mine.py:17)"),
        ("frame", "if n == 9: raise ValueError('frame 10')", "the_defaults_of_the_model_work",
         "m: the defaults of the model work: ValueError: frame 10 (mine.py:24)"),
        ("frame", "if task.seed > 2**62: os._exit(3)", "a_large_seed_works",
         "m: a large seed works: the backend ended its process, with exit status 3"),
        ("step", "if task.prompt == 'a': os.kill(os.getpid(), 11)", "any_text_is_a_prompt",
         "m: any text is a prompt: the backend ended its process, by SIGSEGV"),
    ],
)  # fmt: skip
def test_a_broken_rule_fails_alone_and_says_where(run: Run, where: str, code: str, rule: str, message: str) -> None:
    status, out = run(**{where: code})

    assert status == 1
    assert f"test_contract[m-{rule}] FAILED" in out
    assert f"1 failed, {len(CHECKS)} passed" in out
    assert message in out
    assert "router/testing" not in out


def test_a_load_that_fails_is_the_reason_of_each_test(run: Run) -> None:
    status, out = run(load="import nowhere_at_all")

    assert status == 1
    assert "m: load: ModuleNotFoundError: No module named 'nowhere_at_all' (mine.py:11)" in out
    assert out.count("not checked, as the load failed: ModuleNotFoundError") == len(CHECKS)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('backend="nobody", models="../models.yaml"', "no backend is called 'nobody'; there are"),
        ('backend="mine", models="../models.yaml"', "no backend is called 'mine'; there are"),
        ('backend="mine", models="../models.yaml", plugins="../absent.py"', "absent.py is out of service"),
        ('backend="mine", models="none.yaml", plugins="../mine.py"', "none.yaml"),
        ('backend="mine"', "missing 1 required positional argument: 'models'"),
        ('"mine", "../models.yaml", plugin="a"', "unexpected keyword argument 'plugin'"),
    ],
)
def test_a_wrong_marker_is_one_message(run: Run, marker: str, message: str) -> None:
    test = TEST.replace('backend="mine", models="../models.yaml", plugins=["../mine.py"]', marker)
    status, out = run(test=test)

    assert status == 2, out
    assert message in out
    assert "Traceback" not in out


def test_a_rule_without_a_marker_says_what_it_needs(run: Run) -> None:
    test = TEST.replace("@pytest", "# @pytest")

    assert "needs @pytest.mark.framegate(backend, models, plugins=()), got none" in run(test=test)[1]


def test_a_process_that_cannot_start_is_one_message(run: Run, tmp_path: Path) -> None:
    """The plugin ends its process when it is imported."""
    (tmp_path / "leaves.py").write_text("import os\nos._exit(7)\n")
    status, out = run(test=TEST.replace("../mine.py", "../leaves.py"))

    assert status == 2
    assert "the backend ended its process, with exit status 7" in out
