"""The card run at toy size: all sections, their files and their failures."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.server import ROOT

from bench.card import clocks
from bench.card.plan import SECTIONS
from bench.tools.table import Figure, Row, load, save

pytestmark = pytest.mark.slow
pytest.importorskip("torch")

COMMAND = [sys.executable, "-m", "bench", "card", "--device", "cpu", "--out"]
SAID = {
    "device": ("random bf16 matrices", "from pinned memory to the device"),
    "truth": (
        "ti2v with an image, fp32, against the CPU's fp32",
        "t2v, bf16, against the CPU's fp32, largest difference",
        "norm_and_rope, bfloat16, small: error",
        "kernels without machine code for an H200",
        "same seed, other bytes after a restart",
        "attention native, float32: error against fp64",
        "steps done at the cancel",
        "switches of three models in room for two",
        "group offload, against weights on the device",
        "jobs that cannot fit and end otherwise",
        "attempts of a job whose kernel faulted",
    ),
    "sizes": (
        "toy: ours / diffusers",
        "error of 2 blocks against fp32",
        "seconds until the blocks are compiled",
        "decode, ours / diffusers",
        "9 frames, fp32: encode, ours",
        "true sizes whose pass gives another shape, of 4",
    ),
    "job": (
        "what the router adds",
        "i2v: loading both experts",
        "loads meanwhile",
        "weights of all three, planned",
        "running jobs without a preview",
    ),
    "defaults": ("without rope_kernel", "with gelu_epilogue", "without chunks"),
    "operations": ("attention by native", "up with GELU in it", "norm and modulation, our kernel"),
}


@pytest.mark.storm
def test_every_section_runs_whole_and_meets_its_bounds(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    for name, section in SECTIONS.items():
        if not section.by_name:
            require(tmp_path, name)
    assert "which checks the code and measures nothing" in done.stdout


@pytest.mark.parametrize("name", ["device", pytest.param("operations", marks=pytest.mark.storm)])
def test_a_section_that_is_named_runs_alone(tmp_path: Path, name: str) -> None:
    command = [*COMMAND, str(tmp_path), name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert {path.name for path in tmp_path.iterdir()} == {f"card_{name}.json"}
    require(tmp_path, name)
    assert "which checks the code and measures nothing" in done.stdout


def require(folder: Path, name: str) -> None:
    """Fail unless the section's file is complete and marked as a toy's."""
    known = load(f"card_{name}", folder)
    assert known is not None
    figure, machine = known
    assert (figure.failures, figure.skipped) == ((), ())
    assert "NO FIGURES" in figure.title
    assert machine["cpu"]
    assert all(math.isfinite(row.value) for row in figure.rows)
    assert not [row for row in figure.rows if row.missed]
    said = "\n".join(row.what for row in figure.rows)
    for wanted in SAID[name]:
        assert wanted in said, name


def test_after_its_limit_a_section_begins_no_check_and_says_which(tmp_path: Path) -> None:
    command = [*COMMAND, str(tmp_path), "device", "--limit", "0.000001"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    figure, _ = load("card_device", tmp_path) or (None, None)
    assert done.returncode == 1
    assert figure is not None
    assert (figure.rows, len(figure.skipped)) == ((), 3)
    assert "not run: matrix products, the limit of 1e-06 s had passed" in done.stdout


def test_a_failing_check_is_reported_and_the_others_run(tmp_path: Path) -> None:
    # cuda:7 does not exist, so that each check that needs it fails
    done = subprocess.run(
        [sys.executable, "-m", "bench.card", "device", str(tmp_path), "cuda:7", "60"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    figure, _ = load("card_device", tmp_path) or (None, None)
    assert done.returncode == 1
    assert figure is not None
    assert len(figure.failures) == 3
    assert all(re.match(r"(what is here|matrix products|copies): \w+: ", failure) for failure in figure.failures)
    assert any("torch" in note for note in figure.notes)  # what it had found before


@pytest.mark.storm
def test_a_run_that_is_stopped_leaves_no_process_and_keeps_what_it_has(tmp_path: Path) -> None:
    process = subprocess.Popen([*COMMAND, str(tmp_path), "truth"], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline, started = time.monotonic() + 120, []
    while time.monotonic() < deadline and not (tmp_path / "card_truth.json").exists():
        started = [*psutil.Process(process.pid).children(recursive=True)]
        time.sleep(0.1)
    assert any("router.engine" in " ".join(child.cmdline()) for child in started)

    os.kill(process.pid, signal.SIGTERM)
    process.wait(60)
    gone, alive = psutil.wait_procs(started, timeout=30)

    assert alive == []
    assert gone
    assert json.loads((tmp_path / "card_truth.json").read_text())["rows"]


def test_an_unknown_section_is_refused_with_the_list(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, str(tmp_path), "speed"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert f"a section is one of {', '.join(SECTIONS)}, got speed" in done.stderr


READINGS = """1980, 3201, 690.12, 61, 100, 0x0000000000000000
1755, 3201, 699.80, 66, 100, 0x0000000000000004
345, 3201, 75.00, 40, 0, 0x0000000000000001
1845, 3201, [N/A], 64, 97, 0x0000000000000004
1980, 3201, 600.00, 65, 98, 0x00000000000000"""


def test_clocks_are_those_of_a_busy_card_and_slowing_is_counted() -> None:
    rows = {row.what: row.value for row in clocks.rows_of(READINGS.splitlines())}

    assert (rows["seconds read"], rows["of them busy"]) == (4, 3)  # one reading lacks a number
    assert (rows["SM clock while busy, least"], rows["SM clock while busy, most"]) == (1755, 1980)
    assert rows["power while busy, median"] == 690.12
    assert rows["slowed while busy: power cap"] == 1
    assert rows["slowed while busy: thermal, by hardware"] == 0
    assert clocks.rows_of([]) == []


@pytest.mark.parametrize(
    ("row", "missed", "wanted"),
    [
        (Row("a", 1.0, "s", 2.0), False, "< 2 s"),
        (Row("a", 2.0, "s", 2.0), True, "< 2 s"),
        (Row("a", 88.0, "%", least=88.0), False, "at least 88 %"),
        (Row("a", 87.9, "%", least=88.0), True, "at least 88 %"),
        (Row("a", 2.0, "", 3, 2), False, "at least 2, < 3"),
        (Row("a", 1.0), False, ""),
    ],
)
def test_a_bound_is_met_or_missed(row: Row, missed: bool, wanted: str) -> None:
    assert (row.missed, row.wanted) == (missed, wanted)


def test_a_figure_comes_back_with_what_it_lacks(tmp_path: Path) -> None:
    made = Figure("f", "t", (Row("a", 1.0, least=1.0),), ("n",), ("x: Error: y",), ("z",))
    save(made, {"cpu": "c"}, tmp_path)

    assert load("f", tmp_path) == (made, {"cpu": "c"})
    with pytest.raises(ValueError, match="Out of range float values"):
        save(Figure("f", "t", (Row("a", math.inf),)), {}, tmp_path)
    assert load("f", tmp_path) == (made, {"cpu": "c"})
