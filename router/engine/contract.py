"""What every backend keeps, as checks that run on a loaded model; for our tests and for plugin authors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from registry import Input, ModelSpec
from router.engine.pool import PartPool
from router.errors import JobCancelled, RouterError
from router.plugins import Plugins
from router.values import Frames, Pixels, Preview, Task

STEPS = 4


class ContractBroken(RouterError):
    """A backend does not keep what the router relies on."""


class Subject:
    """One model of the backend under test, loaded, and the task that it is given."""

    def __init__(self, plugins: Plugins, model: ModelSpec, device: str) -> None:
        self._plugins = plugins
        self._device = device
        self.model = model
        self.task = _task(model)
        self.loaded = self.load()

    def load(self) -> Any:
        load = self._plugins.hook_for("load_model", self.model)
        pool = PartPool().share_of(self.model.name)
        loaded = load(model=self.model, device=self._device, pool=pool, report=lambda *_: None)
        _must(loaded is not None, "load_model must return something, got None")
        return loaded

    def unload(self) -> None:
        self._plugins.hook_for("unload_model", self.model)(model=self.model, loaded=self.loaded, gone=True)

    def generate(self, task: Task, report: Callable[..., None] = lambda *_: None) -> Frames:
        frames = self._plugins.hook_for("generate", self.model)(
            model=self.model, loaded=self.loaded, task=task, report=report
        )
        _must(isinstance(frames, Frames), f"generate must return Frames, got {type(frames).__name__}")
        return frames  # type: ignore[no-any-return]

    def video(self, task: Task) -> Pixels:
        """Return all frames, uint8 of shape (frames, height, width, 3)."""
        return np.concatenate(list(self.generate(task).pixels))


def frames_have_the_size_and_number_that_was_asked(subject: Subject) -> None:
    for num_frames in (subject.task.num_frames, 5, 1):
        task = replace(subject.task, num_frames=num_frames)
        wanted = (num_frames, task.height, task.width, 3)
        frames = subject.generate(task)
        said = (frames.num_frames, frames.height, frames.width, 3)
        _must(said == wanted, f"Frames must say {wanted}, got {said}")
        _must(frames.frames_per_second == task.frames_per_second, "Frames must keep the rate that was asked")
        got = np.concatenate(list(frames.pixels))
        _must(
            got.shape == wanted and got.dtype == np.uint8, f"pixels must be uint8 {wanted}, got {got.dtype} {got.shape}"
        )


def each_step_is_reported(subject: Subject) -> None:
    seen: list[tuple[int, int]] = []
    list(subject.generate(subject.task, lambda done, total, preview=None: seen.append((done, total))).pixels)
    wanted = [(step + 1, STEPS) for step in range(STEPS)]
    _must(
        [s for s in seen if s[0]][: len(wanted)] == wanted, f"the reports of {STEPS} steps must be {wanted}, got {seen}"
    )


def a_seed_gives_the_same_video_and_another_seed_another(subject: Subject) -> None:
    first, again = subject.video(subject.task), subject.video(subject.task)
    other = subject.video(replace(subject.task, seed=subject.task.seed + 1))
    _must(np.array_equal(first, again), "the same seed must give the same video, bit for bit")
    _must(not np.array_equal(first, other), "another seed must give another video")


def every_way_to_ask_works(subject: Subject) -> None:
    modality = subject.model.modality
    for optional in modality.allows - modality.needs:
        task = subject.task
        if optional is Input.IMAGE:
            task = replace(task, image=None, given=task.given - {optional})
        subject.video(task)


def a_large_seed_works(subject: Subject) -> None:
    subject.video(replace(subject.task, seed=2**63 - 1))


def a_cancelled_job_stops_at_its_next_report_and_harms_nobody(subject: Subject) -> None:
    before, reports = subject.video(subject.task), []

    def cancel(done: int, total: int, preview: Preview | None = None) -> None:
        reports.append(done)
        if done >= 2:
            raise JobCancelled("cancelled")

    try:
        list(subject.generate(subject.task, cancel).pixels)
        raise ContractBroken("JobCancelled must pass through generate, got frames")
    except JobCancelled:
        _must(max(reports) == 2, f"a job cancelled at step 2 must stop there, got reports {reports}")
    _must(np.array_equal(before, subject.video(subject.task)), "a job after a cancelled one must be as before it")


def pixels_that_are_left_half_way_harm_nobody(subject: Subject) -> None:
    before = subject.video(subject.task)
    with _closed(subject.generate(subject.task).pixels) as pixels:
        next(pixels)
    _must(np.array_equal(before, subject.video(subject.task)), "a job after one that was left must be as before it")


def any_text_is_a_prompt(subject: Subject) -> None:
    for prompt in ("红色的球 🎈", "\u202e\ufeff e\u0301", "word " * 700, "a"):
        subject.video(replace(subject.task, prompt=prompt))


def a_model_comes_back_after_it_was_unloaded(subject: Subject) -> None:
    before = subject.video(subject.task)
    subject.unload()
    subject.loaded = subject.load()
    _must(np.array_equal(before, subject.video(subject.task)), "a model loaded again must be as before")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    frames_have_the_size_and_number_that_was_asked,
    each_step_is_reported,
    a_seed_gives_the_same_video_and_another_seed_another,
    every_way_to_ask_works,
    a_large_seed_works,
    a_cancelled_job_stops_at_its_next_report_and_harms_nobody,
    pixels_that_are_left_half_way_harm_nobody,
    any_text_is_a_prompt,
    a_model_comes_back_after_it_was_unloaded,
)


def _task(model: ModelSpec) -> Task:
    """Return a small task with every input that the model takes."""
    defaults, given = model.defaults, model.modality.allows
    y, x = np.mgrid[: defaults.height, : defaults.width]
    picture = np.stack([x * 255 // defaults.width, y * 255 // defaults.height, np.full_like(x, 99)], -1).astype(
        np.uint8
    )
    return Task(
        prompt="a red ball rolls to the right",
        negative_prompt=defaults.negative_prompt,
        width=defaults.width,
        height=defaults.height,
        num_frames=min(defaults.num_frames, 9),
        frames_per_second=defaults.frames_per_second,
        steps=STEPS,
        guidance_scale=defaults.guidance_scale,
        guidance_scale_2=defaults.guidance_scale_2,
        flow_shift=defaults.flow_shift.at(defaults.width, defaults.height),
        seed=7,
        given=given,
        image=picture if Input.IMAGE in given else None,
        last_image=picture[:, ::-1].copy() if Input.LAST_IMAGE in given else None,
    )


@contextmanager
def _closed(pixels: Iterator[Pixels]) -> Iterator[Iterator[Pixels]]:
    if hasattr(pixels, "close"):
        with closing(pixels):  # type: ignore[type-var]
            yield pixels
    else:
        yield pixels


def _must(kept: bool, message: str) -> None:
    if not kept:
        raise ContractBroken(message)
