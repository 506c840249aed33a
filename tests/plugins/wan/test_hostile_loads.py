"""Configurations of absurd numbers: each load ends soon and takes little memory."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from support import hostile_loads

ROOT = Path(__file__).parents[3]
ENDS = {"broken", "load_failed", "loaded", "made"}
SPARE = 2**30  # bytes beyond what the first load took


def loads(folder: Path, every: int) -> list[dict[str, object]]:
    """Return the result of each change; a hang, or a killed process, fails."""
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, hostile_loads.__file__, folder, str(every)]
    run = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


def hold(found: list[dict[str, object]]) -> None:
    ends = Counter(str(line["outcome"]).partition(":")[0] for line in found)
    tracebacks = [line for line in found if str(line["outcome"]).startswith("traceback")]
    assert not tracebacks
    assert ends.keys() <= {*ENDS, "failed"}
    assert ends["broken"] > sum(ends.values()) / 2
    assert ends["loaded"] or ends["made"]  # some change nothing that counts
    assert max(int(str(line["peak"])) for line in found) - int(str(found[0]["peak"])) < SPARE


@pytest.mark.slow
def test_a_few_absurd_configurations(tiny: Path, tmp_path: Path) -> None:
    hold(loads(Path(shutil.copytree(tiny / "flf2v-clip", tmp_path / "model")), 101))


@pytest.mark.storm
def test_every_absurd_configuration(tiny: Path, tmp_path: Path) -> None:
    hold(loads(Path(shutil.copytree(tiny / "flf2v-clip", tmp_path / "model")), 1))
