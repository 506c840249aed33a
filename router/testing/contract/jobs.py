"""Checks of jobs that end well."""

from dataclasses import replace
from itertools import groupby

import numpy as np

from registry import Input
from router.testing.contract.subject import STEPS, Subject, must


def frames_have_the_size_and_number_of_the_task(subject: Subject) -> None:
    for num_frames in (subject.task.num_frames, 5, 1):
        task = replace(subject.task, num_frames=num_frames)
        needed = (num_frames, task.height, task.width, 3)
        frames = subject.generate(task)
        announced = (frames.num_frames, frames.height, frames.width, 3)
        must(announced == needed, f"Frames must say {needed}, got {announced}")
        must(frames.frames_per_second == task.frames_per_second, "Frames must keep the rate of the task")
        got = np.concatenate(list(frames.pixels))
        fits = got.shape == needed and got.dtype == np.uint8
        must(fits, f"pixels must be uint8 {needed}, got {got.dtype} {got.shape}")


def each_step_is_reported(subject: Subject) -> None:
    seen: list[tuple[int, int]] = []
    list(subject.generate(subject.task, lambda done, total, preview=None: seen.append((done, total))).pixels)
    seen = [each for each, _ in groupby(seen)]  # the same again only checks whether the job goes on
    needed = [(step + 1, STEPS) for step in range(STEPS)]
    steps = [each for each in seen if each[0]][: len(needed)]
    must(steps == needed, f"the reports of {STEPS} steps must be {needed}, got {seen}")


def warnings_are_sentences(subject: Subject) -> None:
    frames = subject.generate(subject.task)
    for _ in frames.pixels:
        pass
    for name, value in (("warnings", frames.warnings), ("late_warnings()", frames.late_warnings())):
        kept = isinstance(value, tuple) and all(isinstance(each, str) for each in value)
        must(kept, f"{name} must be a tuple of sentences, got {value!r}")


def a_seed_gives_the_same_video_and_another_seed_another(subject: Subject) -> None:
    first, again = subject.expected, subject.video(subject.task)
    other = subject.video(replace(subject.task, seed=subject.task.seed + 1))
    same = np.array_equal(first, again) or not subject.backend.deterministic
    must(same, "the same seed must give the same video, bit for bit (or the backend says deterministic=False)")
    differs = not np.array_equal(first, other) or not subject.backend.uses_seed
    must(differs, "another seed must give another video (or the backend says uses_seed=False)")


def the_defaults_of_the_model_work(subject: Subject) -> None:
    defaults = subject.model.defaults
    task = replace(subject.task, num_frames=defaults.num_frames, steps=defaults.steps)
    reports: list[int] = []
    made = np.concatenate(list(subject.generate(task, lambda done, *_: reports.append(done)).pixels))
    must(len(made) == task.num_frames, f"{task.num_frames} frames must come, got {len(made)}")
    must(max(reports, default=0) == task.steps, f"{task.steps} steps must be reported, got {reports}")


def every_way_to_ask_works(subject: Subject) -> None:
    modality = subject.model.modality
    for optional in modality.allows - modality.needs:
        task = subject.task
        if optional is Input.IMAGE:
            task = replace(task, image=None, input_kinds=task.input_kinds - {optional})
        subject.video(task)


def a_large_seed_works(subject: Subject) -> None:
    subject.video(replace(subject.task, seed=2**63 - 1))


def any_text_is_a_prompt(subject: Subject) -> None:
    for prompt in ("红色的球 🎈", "\u202e\ufeff e\u0301", "word " * 700, "a"):
        subject.video(replace(subject.task, prompt=prompt))
