"""A backend that computes nothing and records its own time for each video."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
from marshmallow import Schema, fields

from router import Backend, Frames, Modality, ModelSpec, Pixels, Report, Task, hookimpl


class TimedOptions(Schema):
    """Options of a `timed` model; `timings` is the file of seconds."""

    timings = fields.String(required=True)


@hookimpl
def declare_backend() -> Backend:
    return Backend(name="timed", modalities=frozenset(Modality), options=TimedOptions)


@hookimpl
def load_model(model: ModelSpec) -> Path:
    return Path(cast(str, model.options["timings"]))


@hookimpl
def generate(loaded: Path, task: Task, report: Report) -> Frames:
    started = time.perf_counter()
    for step in range(task.steps):
        report(step + 1, task.steps)
    return Frames(_pixels(task, loaded, started), task.num_frames, task.width, task.height, task.frames_per_second)


def _pixels(task: Task, timings: Path, started: float) -> Iterator[Pixels]:
    frame = np.full((1, task.height, task.width, 3), 128, np.uint8)
    for _ in range(task.num_frames - 1):
        yield frame
    with timings.open("a") as file:
        file.write(f"{time.perf_counter() - started}\n")
    yield frame
