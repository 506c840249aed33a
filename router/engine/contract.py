"""What every backend keeps, as checks that run on a loaded model; for our tests and for plugin authors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property
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
        self.backend = plugins.backends[model.backend]
        self.model = model
        self.task = _task(model)
        self.loaded = self.load()

    @cached_property
    def expected(self) -> Pixels:
        """The frames of `task` from a model that has done nothing since it was loaded."""
        self.reload()
        return self.video(self.task)

    def load(self, report: Callable[..., None] = lambda *_: None, pool: PartPool | None = None) -> Any:
        load = self._plugins.hook_for("load_model", self.model)
        pool, loaded = pool or PartPool(), None
        try:
            share = pool.share_of(self.model.name)
            loaded = load(model=self.model, device=self._device, pool=share, report=report)
        finally:
            if loaded is None:
                pool.release(self.model.name)
        _must(loaded is not None, "load_model must return something, got None")
        return loaded

    def unload(self) -> None:
        self._plugins.hook_for("unload_model", self.model)(model=self.model, loaded=self.loaded, gone=True)

    def reload(self) -> None:
        self.unload()
        self.loaded = self.load()

    def prepare(self, task: Task) -> None:
        without_images = replace(task, image=None, last_image=None)
        self._plugins.hook_for("prepare_task", self.model)(model=self.model, loaded=self.loaded, task=without_images)

    def generate(self, task: Task, report: Callable[..., None] = lambda *_: None) -> Frames:
        frames = self._plugins.hook_for("generate", self.model)(
            model=self.model, loaded=self.loaded, task=task, report=report
        )
        _must(isinstance(frames, Frames), f"generate must return Frames, got {type(frames).__name__}")
        return frames  # type: ignore[no-any-return]

    def video(self, task: Task) -> Pixels:
        """Return all frames, uint8 of shape (frames, height, width, 3)."""
        return np.concatenate(list(self.generate(task).pixels))

    def must_be_as_new(self, before: str) -> None:
        """Raise `ContractBroken` where a job is another after what came `before` than on a model just loaded."""
        expected, made = self.expected, self.video(self.task)
        same = np.array_equal(made, expected) if self.backend.deterministic else made.shape == expected.shape
        if not same:
            self.reload()  # the next check has a model that nothing happened to
            raise ContractBroken(
                f"a job after {before} must be as on a model that was just loaded, the same seed gave other frames"
            )


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


def warnings_are_sentences(subject: Subject) -> None:
    frames = subject.generate(subject.task)
    for _ in frames.pixels:
        pass
    for name, said in (("warnings", frames.warnings), ("late_warnings()", frames.late_warnings())):
        kept = isinstance(said, tuple) and all(isinstance(each, str) for each in said)
        _must(kept, f"{name} must be a tuple of sentences, got {said!r}")


def a_seed_gives_the_same_video_and_another_seed_another(subject: Subject) -> None:
    first, again = subject.expected, subject.video(subject.task)
    other = subject.video(replace(subject.task, seed=subject.task.seed + 1))
    if subject.backend.deterministic:
        _must(
            np.array_equal(first, again),
            "the same seed must give the same video, bit for bit (or the backend says deterministic=False)",
        )
    if subject.backend.uses_seed:
        _must(
            not np.array_equal(first, other),
            "another seed must give another video (or the backend says uses_seed=False)",
        )


def the_defaults_of_the_model_work(subject: Subject) -> None:
    defaults = subject.model.defaults
    task = replace(subject.task, num_frames=defaults.num_frames, steps=defaults.steps)
    reports: list[int] = []
    made = np.concatenate(list(subject.generate(task, lambda done, *_: reports.append(done)).pixels))
    _must(len(made) == task.num_frames, f"{task.num_frames} frames must come, got {len(made)}")
    _must(max(reports, default=0) == task.steps, f"{task.steps} steps must be reported, got {reports}")


def every_way_to_ask_works(subject: Subject) -> None:
    modality = subject.model.modality
    for optional in modality.allows - modality.needs:
        task = subject.task
        if optional is Input.IMAGE:
            task = replace(task, image=None, given=task.given - {optional})
        subject.video(task)


def a_large_seed_works(subject: Subject) -> None:
    subject.video(replace(subject.task, seed=2**63 - 1))


def a_job_cancelled_at_any_report_stops_there_and_leaves_nothing_behind(subject: Subject) -> None:
    for number, total in _points(_reports(subject)):
        stops = Stops(JobCancelled("cancelled"), number)
        _must(
            _ends(subject, stops) is stops.error,
            f"JobCancelled must pass through generate, at report {number} of {total} it did not",
        )
        _must(stops.heard == number, f"a job cancelled at report {number} must stop there, got {stops.heard} reports")
        subject.must_be_as_new(f"one that was cancelled at report {number} of {total}")


def a_job_that_fails_at_any_report_leaves_nothing_behind(subject: Subject) -> None:
    for number, total in _points(_reports(subject)):
        stops = Stops(RuntimeError("raised by the contract's report"), number)
        _must(_ends(subject, stops) is not None, f"generate must end with what report {number} of {total} raised")
        subject.must_be_as_new(f"one that failed at report {number} of {total}")


def pixels_closed_after_any_chunk_leave_nothing_behind(subject: Subject) -> None:
    chunks = sum(1 for _ in subject.generate(subject.task).pixels)
    for taken in [0, *(number for number, _ in _points(chunks - 1))]:
        with _closed(subject.generate(subject.task).pixels) as pixels:
            for _ in range(taken):
                next(pixels)
        subject.must_be_as_new(f"one whose frames were closed after chunk {taken} of {chunks}")


def a_load_that_ends_early_leaves_nothing_behind(subject: Subject) -> None:
    counts = Stops(JobCancelled("never"), 0)
    subject.unload()
    subject.loaded = subject.load(counts)
    ways = {"was cancelled": JobCancelled("cancelled"), "failed": RuntimeError("raised by the contract's report")}
    for how, error in ways.items():
        for number, total in _points(counts.heard, 3):
            pool, stops = PartPool(), Stops(error, number)
            subject.unload()
            try:
                subject.load(stops, pool)
                ended = False
            except Exception as raised:
                ended = raised is error or how == "failed"
            subject.loaded = subject.load(pool=pool)
            _must(ended, f"load_model must end with what report {number} of {total} raised, it did not")
            subject.must_be_as_new(f"a load that {how} at report {number} of {total}")


def a_task_that_was_prepared_is_done_as_any_other(subject: Subject) -> None:
    subject.prepare(subject.task)
    subject.must_be_as_new("prepare_task")


def any_text_is_a_prompt(subject: Subject) -> None:
    for prompt in ("红色的球 🎈", "\u202e\ufeff e\u0301", "word " * 700, "a"):
        subject.video(replace(subject.task, prompt=prompt))


def a_model_comes_back_after_it_was_unloaded(subject: Subject) -> None:
    subject.reload()
    subject.must_be_as_new("an unload and a load")


STATE: tuple[Callable[[Subject], None], ...] = (
    a_job_cancelled_at_any_report_stops_there_and_leaves_nothing_behind,
    a_job_that_fails_at_any_report_leaves_nothing_behind,
    pixels_closed_after_any_chunk_leave_nothing_behind,
    a_load_that_ends_early_leaves_nothing_behind,
    a_task_that_was_prepared_is_done_as_any_other,
    a_model_comes_back_after_it_was_unloaded,
)
CHECKS: tuple[Callable[[Subject], None], ...] = (
    frames_have_the_size_and_number_that_was_asked,
    each_step_is_reported,
    a_seed_gives_the_same_video_and_another_seed_another,
    the_defaults_of_the_model_work,
    warnings_are_sentences,
    every_way_to_ask_works,
    a_large_seed_works,
    any_text_is_a_prompt,
    *STATE,
)


class Stops:
    """A `report` that raises `error` at its call `number`, from 1; never at 0."""

    def __init__(self, error: Exception, number: int) -> None:
        self.error = error
        self.heard = 0
        self._number = number

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        self.heard += 1
        if self.heard == self._number:
            raise self.error


def _reports(subject: Subject) -> int:
    """Return how often a job reports."""
    counts = Stops(JobCancelled("never"), 0)
    list(subject.generate(subject.task, counts).pixels)
    return counts.heard


def _points(total: int, most: int = 8) -> list[tuple[int, int]]:
    """Return numbers of 1...`total`, at most so many, the first and the last among them; each with the total."""
    return [(int(number), total) for number in np.unique(np.linspace(1, total, min(total, most)).round())]


def _ends(subject: Subject, report: Stops) -> Exception | None:
    """Return what a job with this report raises, None if all its frames come."""
    try:
        list(subject.generate(subject.task, report).pixels)
    except ContractBroken:
        raise
    except Exception as error:  # a backend may turn what it hears into an error of its own
        return error
    return None


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
