"""Tensors from files to a device: whole, in their dtype, without a second copy."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from router import JobCancelled, LoadFailed

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from plugins.wan.weights import transfer  # noqa: E402
from plugins.wan.weights.forms import Form  # noqa: E402
from plugins.wan.weights.safetensors import StoredTensor, stored_in  # noqa: E402
from registry.folders import weights_in  # noqa: E402

WHOLE = "diffusion_pytorch_model.safetensors"
PIECE = transfer.PIECE_BYTES["cpu"]


def written(folder: Path, **tensors: Any) -> dict[str, StoredTensor]:
    save_file(tensors, folder / WHOLE)
    return stored_in(weights_in(folder, "part"))


def read(stored: dict[str, StoredTensor], dtype: Any = None, arrived: Any = lambda size: None) -> dict[str, Any]:
    return transfer.read(stored, {name: Form(dtype or each.dtype) for name, each in stored.items()}, "cpu", arrived)


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 5), (PIECE // 4,), (PIECE // 4 + 1,), (3, PIECE // 4 - 1)])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float64])
def test_tensors_arrive_as_they_were(tmp_path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    given = torch.randn(shape, generator=torch.Generator().manual_seed(1))

    got = read(written(tmp_path, one=given, two=torch.arange(7)), dtype)["one"]

    assert torch.equal(got, given.to(dtype or torch.float32))


def test_numbers_that_are_no_floats_stay_what_they_are(tmp_path: Path) -> None:
    given = {"flags": torch.tensor([True, False]), "counts": torch.tensor([3, -1])}

    got = read(written(tmp_path, **given))

    assert all(torch.equal(got[name], tensor) for name, tensor in given.items())


def test_several_files_are_read_at_once(tmp_path: Path) -> None:
    for name in "abc":
        save_file({name: torch.full((PIECE // 2,), ord(name))}, tmp_path / f"{name}.safetensors")
    index = {"weight_map": {name: f"{name}.safetensors" for name in "abc"}}
    (tmp_path / f"{WHOLE}.index.json").write_text(json.dumps(index))

    got = read(stored_in(weights_in(tmp_path, "part")))

    assert {name: int(tensor.unique()) for name, tensor in got.items()} == {name: ord(name) for name in "abc"}


def test_each_piece_is_heard_of_in_bytes_of_what_it_is_on_the_device(tmp_path: Path) -> None:
    heard: list[int] = []

    got = read(written(tmp_path, one=torch.ones(PIECE)), torch.bfloat16, heard.append)["one"]

    assert heard == [PIECE // 2] * 4
    assert got.nbytes == sum(heard)


def test_what_the_listener_raises_ends_the_reading(tmp_path: Path) -> None:
    heard: list[int] = []

    def stop(size: int) -> None:
        heard.append(size)
        raise JobCancelled("by the test")

    with pytest.raises(JobCancelled):
        read(written(tmp_path, one=torch.ones(20 * PIECE // 4)), None, stop)

    assert len(heard) == 1


def test_a_file_that_has_become_shorter_is_said_to_be_cut(tmp_path: Path) -> None:
    stored = written(tmp_path, one=torch.ones(PIECE))
    path = tmp_path / WHOLE
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 10)

    with pytest.raises(LoadFailed, match="is cut short: a tensor at byte"):
        read(stored)


CHILD = """
import json, resource, sys, threading, time
from pathlib import Path
import psutil
import torch
from plugins.wan.weights import transfer
from plugins.wan.weights.forms import Form
from plugins.wan.weights.safetensors import stored_in
from registry.folders import weights_in

torch.set_num_threads(1)
stored = stored_in(weights_in(Path(sys.argv[1]), "part"))
dtype = getattr(torch, sys.argv[2])
small = {name: each for name, each in stored.items() if name == "small"}
transfer.read(small, {"small": Form(dtype)}, "cpu", lambda size: None)  # what the first use of anything takes
process, peak = psutil.Process(), 0
before = process.memory_info().rss

def watch(size):
    global peak
    peak = max(peak, process.memory_info().rss)

got = transfer.read(stored, {name: Form(dtype) for name in stored}, "cpu", watch)
print(json.dumps({"taken": peak - before, "loaded": sum(each.nbytes for each in got.values())}))
"""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_peak_of_memory_is_that_of_the_weights_and_a_few_pieces(tmp_path: Path, dtype: str) -> None:
    """Resident memory at each piece, mapped pages of files included."""
    many = {f"t{number}": torch.ones(1024, 1024) for number in range(100)}
    save_file({"large": torch.ones(40, 1024, 1024), "small": torch.ones(8), **many}, tmp_path / WHOLE)

    done = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path, dtype],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )

    found = json.loads(done.stdout)
    assert found["loaded"] == (140 * 2**20 + 8) * (4 if dtype == "float32" else 2)
    assert found["taken"] <= 1.2 * found["loaded"]
