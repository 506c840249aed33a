"""The smallest task of a model: what a backend compiles, tunes and allocates at its first job is done before it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from registry import Input, ModelSpec, Size
from router.engine.reporter import Phases
from router.engine.residency import Residency
from router.plugins import Plugins
from router.runtime.files import make_folder
from router.values import Phase, Task

log = logging.getLogger(__name__)


@contextmanager
def surviving(note: Path) -> Iterator[bool]:
    """Give True where models may be warmed up, False where that ended the engine that this one replaces.

    The note names the supervisor while they are, so an engine that finds its own one's there would
    never come to serve; another supervisor's is of a server that was stopped.
    """
    supervisor = _supervisor()
    if note.is_file() and note.read_text() == supervisor:
        log.error("nothing is warmed up: the engine before this one did not survive it")
        yield False
        return
    try:
        make_folder(note.parent)
        note.write_text(supervisor)
    except OSError as error:  # without the note an engine that dies of it would do so for ever
        log.error("nothing is warmed up, as that could not be noted: %s", error)
        yield False
        return
    yield True
    with suppress(OSError):  # its disk is read-only by now: the next engine warms up nothing
        note.unlink(missing_ok=True)


def _supervisor() -> str:
    """Return what tells our parent from every other process of this boot: its id and when it started."""
    stat = Path("/proc", str(os.getppid() or "self"), "stat").read_text()
    return f"{os.getppid()} {stat.rpartition(')')[2].split()[19]}"


def warm_up(plugins: Plugins, residency: Residency, model: ModelSpec, reporter: Phases) -> None:
    """Load `model` and run it once, and at each of its sizes; raises what its backend raises."""
    resident = residency.get(model, reporter)
    generate = plugins.hook_for("generate", model)
    report = reporter.phase(Phase.STEP)
    for task in (smallest(model), *(shortest(model, size) for size in model.warm_sizes)):
        frames = generate(model=resident.model, loaded=resident.loaded, task=task, report=report)
        for _ in frames.pixels:
            reporter.phase(Phase.DECODE)()


def smallest(model: ModelSpec) -> Task:
    """Return a task that uses all of a model and takes it little time: one step, one frame, plain images."""
    side = 4 * model.size_multiple
    return shortest(model, Size(side, side, 1))


def shortest(model: ModelSpec, size: Size) -> Task:
    """Return a task of this size that uses all of a model: one step of each expert, plain images."""
    plain = np.full((size.height, size.width, 3), 127, np.uint8)
    given = model.modality.allows
    return Task(
        prompt="a red ball",
        negative_prompt=model.defaults.negative_prompt,
        width=size.width,
        height=size.height,
        num_frames=size.num_frames,
        frames_per_second=model.defaults.frames_per_second,
        steps=2 if model.experts > 1 else 1,
        guidance_scale=model.defaults.guidance_scale,
        guidance_scale_2=model.defaults.guidance_scale_2,
        flow_shift=model.defaults.flow_shift.at(size.width, size.height),
        seed=0,
        input_kinds=given,
        image=plain if Input.IMAGE in given else None,
        last_image=plain if Input.LAST_IMAGE in given else None,
    )
