"""Checks of jobs that end well."""

from dataclasses import replace
from itertools import groupby

import numpy as np

from registry import Input
from router.testing.contract.subject import STEPS, Subject, chunks, described, drain, must
from router.values import Preview


class Listens:
    """A `report` that keeps its numbers, and the pictures of the previews."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []
        self.pictures: list[object] = []

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        self.heard.append((done, total))
        if preview is not None:
            self.pictures.append(preview())


def frames_have_the_size_and_number_of_the_task(subject: Subject) -> None:
    """Return `Frames` of the task's size, number and rate, in chunks of uint8."""
    for num_frames in (subject.task.num_frames, 5, 1):
        subject.chunks(replace(subject.task, num_frames=num_frames))


def each_step_is_reported(subject: Subject) -> None:
    """Call `report(step, steps)` after each step, from 1 to `task.steps`."""
    listens = Listens()
    drain(subject.generate(subject.task, listens))
    seen = [each for each, _ in groupby(listens.heard)]  # the same again only checks whether the job goes on
    needed = [(step + 1, STEPS) for step in range(STEPS)]
    steps = [each for each in seen if each[0]][: len(needed)]
    must(steps == needed, f"the reports of {STEPS} steps must be {needed}, got {seen}")


def previews_are_pictures(subject: Subject) -> None:
    """Return uint8 pixels of shape `(height, width, 3)` from each preview."""
    listens = Listens()
    drain(subject.generate(subject.task, listens))
    for picture in listens.pictures:
        fits = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape[2:] == (3,)
        must(fits, f"a preview must return uint8 of shape (height, width, 3), got {described(picture)}")


def warnings_are_sentences(subject: Subject) -> None:
    """Return `warnings` and `late_warnings()` as tuples of sentences."""
    frames = subject.generate(subject.task)
    chunks(frames)
    for name, value in (("warnings", frames.warnings), ("late_warnings()", frames.late_warnings())):
        kept = isinstance(value, tuple) and all(isinstance(each, str) for each in value)
        must(kept, f"{name} must be a tuple of sentences, got {value!r}")


def a_seed_gives_the_same_video_and_another_seed_another(subject: Subject) -> None:
    """Give the same frames for a seed, bit for bit, and others for another."""
    first, again = subject.expected, subject.video(subject.task)
    other = subject.video(replace(subject.task, seed=subject.task.seed + 1))
    same = np.array_equal(first, again) or not subject.backend.deterministic
    must(same, "the same seed must give the same video, bit for bit (or the backend says deterministic=False)")
    differs = not np.array_equal(first, other) or not subject.backend.uses_seed
    must(differs, "another seed must give another video (or the backend says uses_seed=False)")


def the_defaults_of_the_model_work(subject: Subject) -> None:
    """Complete a job of the model's default steps and frames."""
    defaults = subject.model.defaults
    task = replace(subject.task, num_frames=defaults.num_frames, steps=defaults.steps)
    listens = Listens()
    subject.chunks(task, listens)
    reports = [done for done, _ in listens.heard]
    must(max(reports, default=0) == task.steps, f"{task.steps} steps must be reported, got {reports}")


def every_way_to_ask_works(subject: Subject) -> None:
    """Complete a job with and without each optional input of the modality."""
    modality = subject.model.modality
    for optional in modality.allows - modality.needs:
        task = subject.task
        if optional is Input.IMAGE:
            task = replace(task, image=None, input_kinds=task.input_kinds - {optional})
        subject.chunks(task)


def a_large_seed_works(subject: Subject) -> None:
    """Take any seed up to 2^63 - 1."""
    subject.chunks(replace(subject.task, seed=2**63 - 1))


def any_text_is_a_prompt(subject: Subject) -> None:
    """Take any text as a prompt: any script, one letter or thousands."""
    for prompt in ("红色的球 🎈", "\u202e\ufeff e\u0301", "word " * 700, "a"):
        subject.chunks(replace(subject.task, prompt=prompt))
