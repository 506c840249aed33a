"""`framegate check --contract` of a backend that cannot be loaded: one line about it."""

import os
import subprocess
from pathlib import Path

import pytest
from support.server import FRAMEGATE, ROOT

PLUGIN = """
import os
from router import Backend, Modality, hookimpl
@hookimpl
def declare_backend(): return Backend("mine", frozenset({Modality.T2V}))
@hookimpl
def load_model(): CODE
"""


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import nowhere_at_all", "m: load: BROKEN: ModuleNotFoundError: No module named 'nowhere_at_all' (mine.py:7)"),
        ("raise SystemExit(0)", "m: load: BROKEN: SystemExit: 0 (mine.py:7)"),
        ("os._exit(0)", "m: load: BROKEN: the backend ended its process, with exit status 0"),
        ("os.abort()", "m: load: BROKEN: the backend ended its process, by SIGABRT"),
    ],
)
def test_a_load_that_ends_early_is_one_line(tmp_path: Path, code: str, line: str) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.replace("CODE", code))
    (tmp_path / "models.yaml").write_text("models: {m: {backend: mine, modality: t2v}}")
    command = [*FRAMEGATE, "check", "--contract", "mine"]
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FRAMEGATE_DATA": str(tmp_path / "data"),
        "FRAMEGATE_MODELS": str(tmp_path / "models.yaml"),
        "FRAMEGATE_PLUGINS": str(tmp_path / "mine.py"),
    }
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert done.stdout.splitlines()[1:] == [line]
    assert "Traceback" not in done.stderr
