"""The model under test, and the operations of the checks on it."""

from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from registry import Input, ModelSpec, Size
from router.engine.pool import PartPool
from router.engine.warm_up import short_task
from router.errors import RouterError
from router.plugins import Plugins
from router.values import Frames, Pixels, Preview, Report, Task, UsedAdapter

STEPS = 4


class ContractBroken(RouterError):
    """A backend breaks a rule that the router relies on."""


def silent(done: int, total: int, preview: Preview | None = None) -> None:
    """Store nothing, and stop nothing: the `report` of a job without a caller."""


class Subject:
    """A loaded model of the backend under test, and its task."""

    def __init__(self, plugins: Plugins, model: ModelSpec, device: str) -> None:
        self._plugins = plugins
        self._device = device
        self.backend = plugins.backends[model.backend]
        self.model = model
        self.task = _task(model)
        self.loaded = self.load()

    @cached_property
    def expected(self) -> Pixels:
        """The frames of `task` from a model that was just loaded."""
        self.reload()
        return self.video(self.task)

    @property
    def adapter(self) -> UsedAdapter | None:
        """The first adapter with files here; None if only merged ones have theirs."""
        here = (each for each in self.model.adapters if any(each.paths) and any(each.strength) and not each.merge)
        return next((UsedAdapter(each.name, *each.strength) for each in here), None)

    def load(self, report: Report = silent, pool: PartPool | None = None) -> Any:
        load = self._plugins.hook_for("load_model", self.model)
        pool, loaded = pool or PartPool(), None
        try:
            share = pool.share_of(self.model.name)
            loaded = load(model=self.model, device=self._device, pool=share, report=report)
        finally:
            if loaded is None:
                pool.release(self.model.name)
        must(loaded is not None, "load_model must return something, got None")
        return loaded

    def unload(self) -> None:
        for failure in self._plugins.unload(self.model, self.loaded, gone=True):
            raise failure.error

    def reload(self) -> None:
        self.unload()
        self.loaded = self.load()

    def generate(self, task: Task, report: Report = silent) -> Frames:
        """Return the `Frames` of a task; their fields must fit it."""
        generate = self._plugins.hook_for("generate", self.model)
        frames = generate(model=self.model, loaded=self.loaded, task=task, report=report)
        must(isinstance(frames, Frames), f"generate must return Frames, got {type(frames).__name__}")
        _must_announce(frames, task)
        return frames  # type: ignore[no-any-return]

    def chunks(self, task: Task, report: Report = silent) -> list[Pixels]:
        """Return the checked chunks of a task's pixels."""
        return chunks(self.generate(task, report))

    def video(self, task: Task) -> Pixels:
        """Return all frames, uint8 of shape (frames, height, width, 3)."""
        return np.concatenate(self.chunks(task))

    def must_be_as_new(self, before: str) -> None:
        """Raise `ContractBroken` if the frames differ from a new model's; `before` names the cause."""
        expected, made = self.expected, self.video(self.task)
        same = np.array_equal(made, expected) if self.backend.deterministic else made.shape == expected.shape
        if not same:
            self.reload()  # the next check needs a model without a history
            raise ContractBroken(
                f"a job after {before} must be as on a model that was just loaded, the same seed gave other frames"
            )


def must(kept: bool, message: str) -> None:
    if not kept:
        raise ContractBroken(message)


def drain(frames: Frames) -> None:
    """Take all chunks, whatever they are."""
    for _ in islice(frames.pixels, frames.num_frames + 1):  # a generator may have no end
        pass


def chunks(frames: Frames) -> list[Pixels]:
    """Take all chunks of pixels; raise `ContractBroken` if they differ from what `frames` announces."""
    found: list[Pixels] = []
    got = 0
    for chunk in frames.pixels:
        _must_fit(chunk, frames)
        found.append(chunk)
        got += len(chunk)
        if got > frames.num_frames:
            break
    more = "at least " if got > frames.num_frames else ""
    must(got == frames.num_frames, f"pixels must have {frames.num_frames} frames, got {more}{got}")
    return found


def _must_announce(frames: Frames, task: Task) -> None:
    for name in ("num_frames", "width", "height", "frames_per_second"):
        needed, got = getattr(task, name), getattr(frames, name)
        must(got == needed, f"Frames must have the task's {name}, {needed}, got {got}")
    must(hasattr(frames.pixels, "__next__"), f"pixels must be an iterator, got {type(frames.pixels).__name__}")


def _must_fit(chunk: Any, frames: Frames) -> None:
    shape = (frames.height, frames.width, 3)
    fits = isinstance(chunk, np.ndarray) and chunk.dtype == np.uint8 and chunk.ndim == 4 and chunk.shape[1:] == shape
    needed = f"each chunk of pixels must be uint8 of shape (n, {frames.height}, {frames.width}, 3)"
    must(fits, f"{needed}, got {described(chunk)}")


def described(value: object) -> str:
    """Return the type of a value, of an array its dtype and shape."""
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _task(model: ModelSpec) -> Task:
    """Return a small task with every input of the model."""
    width, height = model.defaults.width, model.defaults.height
    y, x = np.mgrid[:height, :width]
    picture = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 99)], -1).astype(np.uint8)
    task = short_task(model, Size(width, height, min(model.defaults.num_frames, 9)))
    return replace(
        task,
        prompt="a red ball rolls to the right",
        steps=STEPS,
        seed=7,
        image=picture if Input.IMAGE in task.input_kinds else None,
        last_image=picture[:, ::-1].copy() if Input.LAST_IMAGE in task.input_kinds else None,
    )
