"""Files of loaded models that are replaced, cut, or joined by others."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.engine_backends import queue

from nano.family import link_family
from registry import Modality, ModelSpec
from registry.folders import INDEX
from router import Backend, Frames, Task, hookimpl
from router.engine import encoder
from router.engine.worker import Worker
from router.settings import Settings
from router.system import assemble

WEIGHTS = Path("vae", "diffusion_pytorch_model.safetensors")


class CountsLoads:
    """A backend of black videos that counts its loads."""

    def __init__(self) -> None:
        self.count = 0

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("counts", frozenset(Modality), index=INDEX)

    @hookimpl
    def load_model(self, model: ModelSpec) -> object:
        self.count += 1
        return self

    @hookimpl
    def generate(self, task: Task) -> Frames:
        pixels = iter([np.zeros((task.num_frames, task.height, task.width, 3), np.uint8)])
        return Frames(pixels, task.num_frames, task.width, task.height, task.frames_per_second)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    link_family(tmp_path / "nano")
    copy = tmp_path / "model"
    shutil.copytree(tmp_path / "nano" / "wan-nano-t2v", copy)
    return copy


@pytest.fixture
def loads_around(tmp_path: Path, folder: Path) -> Callable[[Callable[[], object]], int]:
    """Return a counter of the loads of two jobs with an act between."""
    models = tmp_path / "models.yaml"
    small = "defaults: {width: 32, height: 32, num_frames: 5, steps: 1, negative_prompt: ''}"
    models.write_text(f"models:\n  text: {{backend: counts, source: {folder}, {small}}}\n")

    def count(act: Callable[[], object]) -> int:
        backend = CountsLoads()
        system = assemble(Settings(data=tmp_path / "data", models=models), plugins=[encoder, backend])
        worker = Worker(system, "cpu")
        jobs = [queue(system) for _ in range(2)]
        assert worker.run_one(jobs[0])
        act()
        assert worker.run_one(jobs[1])
        return backend.count

    return count


def test_a_model_is_loaded_once(loads_around: Callable[..., int]) -> None:
    assert loads_around(lambda: None) == 1


def test_a_model_whose_file_was_replaced_is_loaded_again(
    loads_around: Callable[..., int], folder: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copy2(folder / WEIGHTS, tmp_path))  # of the same size and time

    assert loads_around(lambda: other.replace(folder / WEIGHTS)) == 2


def test_a_model_whose_file_is_half_written_stays(loads_around: Callable[..., int], folder: Path) -> None:
    half = (folder / WEIGHTS).read_bytes()[:5000]

    assert loads_around(lambda: (folder / WEIGHTS).write_bytes(half)) == 1


def test_a_file_that_nobody_reads_loads_nothing(loads_around: Callable[..., int], folder: Path) -> None:
    assert loads_around(lambda: (folder / "vae" / "notes.txt").write_text("good")) == 1
