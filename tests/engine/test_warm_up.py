"""Warm-up of models, and its note of a crash."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.engine_backends import Generates, Loads

from router import Frames, OutOfMemory, Task
from router.engine import encoder
from router.engine.warm_up import crash_note
from router.engine.worker import Worker
from router.system import System, assemble


def test_a_start_that_went_well_leaves_no_note(tmp_path: Path) -> None:
    note = tmp_path / "devices" / "cpu.warming"
    with crash_note(note) as is_safe:
        assert (is_safe, note.is_file()) == (True, True)

    assert not note.exists()


def test_the_note_of_ones_own_supervisor_says_no_and_stays(tmp_path: Path) -> None:
    note = tmp_path / "cpu.warming"
    with crash_note(note):
        left = note.read_text()
    note.write_text(left)  # as an engine leaves it that was killed
    for _ in range(2):
        with crash_note(note) as is_safe:
            assert not is_safe


def test_the_note_of_another_supervisor_says_nothing(tmp_path: Path) -> None:
    note = tmp_path / "cpu.warming"
    note.write_text("1 1")
    with crash_note(note) as is_safe:
        assert is_safe


def test_where_no_note_can_be_left_nothing_is_warmed_up(tmp_path: Path) -> None:
    note = tmp_path / "cpu.warming"
    note.mkdir()  # as little writable as a file of a full disk
    with crash_note(note) as is_safe:
        assert not is_safe


def test_a_model_to_warm_up_is_ready_before_anybody_asks_and_one_that_cannot_stops_nobody(
    build: Callable[..., System], caplog: pytest.LogCaptureFixture
) -> None:
    loads = Loads(OutOfMemory("too large"), 0.0)
    system = build(loads)
    path = system.settings.models
    path.write_text(path.read_text().replace("modality: t2v,", "modality: t2v, warm_up: true,"))
    system = assemble(system.settings, plugins=[encoder, loads])
    warm = [model.name for model in system.registries.poll().models if model.warm_up]
    worker = Worker(system, "cpu")
    worker._warm_models()

    assert warm == ["text", "slow", "far"]
    assert worker._residency.names == ("slow",)
    assert "text could not be warmed up" in caplog.text
    assert "far could not be warmed up" in caplog.text  # its weights are not here


def test_a_model_is_warmed_up_at_each_of_its_sizes(build: Callable[..., System]) -> None:
    seen: list[str] = []

    def generate(task: Task, report: Callable[..., None]) -> Frames:
        seen.append(f"{task.width}x{task.height}x{task.num_frames}, {task.steps}")
        blank = np.zeros((task.num_frames, task.height, task.width, 3), np.uint8)
        return Frames(iter([blank]), task.num_frames, task.width, task.height, 8)

    system = build()
    path = system.settings.models
    path.write_text(path.read_text().replace("modality: t2v, aliases", "modality: t2v, warm_up: [32x48x5], aliases"))
    Worker(assemble(system.settings, plugins=[encoder, Generates(generate)]), "cpu")._warm_models()

    assert seen == ["64x64x1, 1", "32x48x5, 1"]
