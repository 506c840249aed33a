"""Hostile weight files are refused in under a second and with little memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import hostile_weights
from support.hostile_weights import GGUF, SAFETENSORS

from bench.tools.layout import write_model

SECONDS = 5  # a second where nothing else runs
LARGE = {"a marker of gigabytes": 10**10, "a note of gigabytes": 10**10, "a scale of gigabytes": 4 * 10**10}
LARGE |= dict.fromkeys(("a key of a gigabyte", "a text of a gigabyte", "a name of a gigabyte"), 3 * 2**30)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Read every file in another process; return the outcomes by name."""
    folder = tmp_path_factory.mktemp("hostile")
    base = write_model(tmp_path_factory.mktemp("base") / "model")
    for name, make in {**SAFETENSORS, **GGUF}.items():
        (folder / name).write_bytes(make())
        if name in LARGE:
            with (folder / name).open("r+b") as file:
                head = file.read(8)
                size = 8 + int.from_bytes(head, "little") if name in SAFETENSORS else 0
                file.truncate(size + LARGE[name])
    command = [sys.executable, hostile_weights.__file__, str(base), str(folder)]
    path = [str(each) for each in (Path.cwd(), Path(hostile_weights.__file__).parents[1])]
    run = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": ":".join(path)}, check=True)
    for each in folder.iterdir():
        each.unlink()
    return {line["case"]: line for line in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("name", [*SAFETENSORS, *GGUF])
def test_a_hostile_file_is_refused_in_words(outcomes: dict[str, dict[str, object]], name: str) -> None:
    found = str(outcomes[name]["found"])

    assert f"{name} of transformer" in found
    assert float(str(outcomes[name]["seconds"])) < SECONDS
