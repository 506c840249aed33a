"""A backend of one colour, from the prompt's hash: for tests and authors."""

import hashlib
import time
from collections.abc import Iterator
from typing import cast

from marshmallow import Schema, fields, validate

from router import Backend, Frames, Modality, ModelSpec, Pixels, Report, Task, hookimpl


class StillOptions(Schema):
    """Options of a `still` model: seconds of its load, and of each step."""

    load_seconds = fields.Float(load_default=0.0, validate=validate.Range(min=0, max=3600))
    step_seconds = fields.Float(load_default=0.0, validate=validate.Range(min=0, max=3600))


@hookimpl
def declare_backend() -> Backend:
    return Backend(name="still", modalities=frozenset(Modality), options=StillOptions)


@hookimpl
def load_model(model: ModelSpec, report: Report) -> float:
    seconds = cast(float, model.options.get("load_seconds", 0.0))
    for part in range(10):
        report(part, 10)
        time.sleep(seconds / 10)
    return cast(float, model.options.get("step_seconds", 0.0))


@hookimpl
def generate(loaded: float, task: Task, report: Report) -> Frames:
    for step in range(task.steps):
        time.sleep(loaded)
        report(step + 1, task.steps, lambda: _colour(task)[0])
    return Frames(_pixels(task), task.num_frames, task.width, task.height, task.frames_per_second)


def _pixels(task: Task) -> Iterator[Pixels]:
    frame = _colour(task)
    for index in range(task.num_frames):
        yield task.image[None] if index == 0 and task.image is not None else frame


def _colour(task: Task) -> Pixels:
    """Return a frame, `(1, height, width, 3)`, in the colour of prompt and seed."""
    import numpy as np  # not for all processes: most only read the declaration

    frame = np.empty((1, task.height, task.width, 3), np.uint8)
    frame[:] = list(hashlib.sha256(f"{task.seed}:{task.prompt}".encode()).digest()[:3])
    return frame
