"""Warm-up of models: a backend compiles, tunes and allocates before the first job."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from registry import Input, ModelSpec, Size
from router.engine.adapters import with_adapters, with_defaults
from router.engine.heartbeat import Beat
from router.engine.reporter import heartbeats
from router.engine.residency import Residency
from router.errors import DeviceLost
from router.runtime.files import make_folder
from router.system import System
from router.values import Phase, Task

log = logging.getLogger(__name__)


@contextmanager
def crash_note(note: Path) -> Iterator[bool]:
    """Keep a note during the warm-up; give False if the former one crashed.

    The note names the supervisor: one of another supervisor comes from a server that was stopped meanwhile.
    """
    supervisor = _supervisor()
    if note.is_file() and note.read_text() == supervisor:
        log.error("nothing is warmed up: the engine before this one did not survive it")
        yield False
        return
    try:
        make_folder(note.parent)
        note.write_text(supervisor)
    except OSError as error:  # without the note an engine that dies of a warm-up would do so for ever
        log.error("nothing is warmed up, as that could not be noted: %s", error)
        yield False
        return
    yield True
    with suppress(OSError):  # the disk is read-only by now: the next engine warms up nothing
        note.unlink(missing_ok=True)


def _supervisor() -> str:
    """Return the parent's process id and start time: unique in this boot."""
    stat = Path("/proc", str(os.getppid() or "self"), "stat").read_text()
    return f"{os.getppid()} {stat.rpartition(')')[2].split()[19]}"


class WarmUp:
    """Loads models and runs each of them once before their first jobs."""

    def __init__(self, system: System, residency: Residency, beat: Beat) -> None:
        self._plugins = system.plugins
        self._weights = system.weights
        self._residency = residency
        self._phases = heartbeats(beat)

    def pending(self, models: Iterable[ModelSpec], former: Iterable[ModelSpec] = ()) -> tuple[ModelSpec, ...]:
        """Return the models with `warm_up` that the `former` ones have not warmed up."""
        done = [model for model in former if model.warm_up]
        return tuple(m for m in models if m.warm_up and not any(m.loads_as(other) for other in done))

    def run(self, model: ModelSpec) -> None:
        """Warm up one model; a failure other than `DeviceLost` is logged."""
        try:
            self._run_tasks(model)
        except DeviceLost:
            raise
        except Exception:
            log.exception("%s could not be warmed up", model.name)
        else:
            log.info("%s is warmed up", model.name)

    def _run_tasks(self, model: ModelSpec) -> None:
        resident = self._residency.get(model, self._phases)
        generate = self._plugins.hook_for("generate", model)
        report = self._phases(Phase.STEP)
        for plain in (smallest_task(model), *(short_task(model, size) for size in model.warm_sizes)):
            task = with_defaults(model, plain)
            here = with_adapters(self._weights, resident.model, task, self._phases)
            with self._residency.load_timer.warm_up(model):
                frames = generate(model=here, loaded=resident.loaded, task=task, report=report)
                for _ in frames.pixels:
                    self._phases(Phase.DECODE)()


def smallest_task(model: ModelSpec) -> Task:
    """Return a task of one small frame that uses every part of a model."""
    side = 4 * model.size_multiple
    return short_task(model, Size(side, side, 1))


def short_task(model: ModelSpec, size: Size) -> Task:
    """Return a task of this size: one step of each expert, grey images."""
    plain = np.full((size.height, size.width, 3), 127, np.uint8)
    given = model.modality.allows
    shift, steps = model.defaults.flow_shift.at(size.width, size.height), 2 if model.experts > 1 else 1
    return Task(
        **{**vars(model.defaults), **vars(size), "flow_shift": shift, "steps": steps},
        prompt="a red ball",
        seed=0,
        input_kinds=given,
        image=plain if Input.IMAGE in given else None,
        last_image=plain if Input.LAST_IMAGE in given else None,
    )
