"""Checks of jobs and loads that end early: the next job is unaffected."""

from contextlib import closing, nullcontext
from dataclasses import replace

import numpy as np

from router.engine.pool import PartPool
from router.errors import JobCancelled
from router.testing.contract.subject import ContractBroken, Subject, must
from router.values import Preview, Task


def a_job_cancelled_at_any_report_stops_there_and_leaves_nothing_behind(subject: Subject) -> None:
    """Let `JobCancelled` pass at any report; keep nothing of that job."""
    for number, total in _points(_reports(subject)):
        stops = StopsAtSteps(JobCancelled("cancelled"), number)
        passes = _ends(subject, stops) is stops.error
        must(passes, f"JobCancelled must pass through generate, at report {number} of {total} it did not")
        must(stops.heard == number, f"a job cancelled at report {number} must stop there, got {stops.heard} reports")
        subject.must_be_as_new(f"one that was cancelled at report {number} of {total}")


def a_job_that_fails_at_any_report_leaves_nothing_behind(subject: Subject) -> None:
    """End with any other error of `report`; keep nothing of that job."""
    for number, total in _points(_reports(subject)):
        stops = StopsAtSteps(RuntimeError("raised by the contract's report"), number)
        must(_ends(subject, stops) is not None, f"generate must end with what report {number} of {total} raised")
        subject.must_be_as_new(f"one that failed at report {number} of {total}")


def pixels_closed_after_any_chunk_leave_nothing_behind(subject: Subject) -> None:
    """Allow `close()` of the pixels after any chunk; keep nothing of that job."""
    chunks = len(subject.chunks(subject.task))
    for taken in [0, *(number for number, _ in _points(chunks - 1))]:
        pixels = subject.generate(subject.task).pixels
        with closing(pixels) if hasattr(pixels, "close") else nullcontext():  # type: ignore[type-var]
            for _ in range(taken):
                next(pixels)
        subject.must_be_as_new(f"one whose frames were closed after chunk {taken} of {chunks}")


def a_load_that_ends_early_leaves_nothing_behind(subject: Subject) -> None:
    """End a load with the error of its `report`; keep nothing of it."""
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
            must(ended, f"load_model must end with what report {number} of {total} raised, it did not")
            subject.must_be_as_new(f"a load that {how} at report {number} of {total}")


def a_model_comes_back_after_it_was_unloaded(subject: Subject) -> None:
    """Give the same frames after an unload and a load."""
    subject.reload()
    subject.must_be_as_new("an unload and a load")


def an_adapter_changes_the_jobs_that_name_it_and_no_others(subject: Subject) -> None:
    """Use an adapter for the jobs with it; keep nothing of it afterwards."""
    if (used := subject.adapter) is None:
        return
    task = replace(subject.task, adapters=(used,))
    first = subject.video(task)
    subject.must_be_as_new(f"one with the adapter {used.name}")
    must(not np.array_equal(first, subject.expected), f"the adapter {used.name} must change the video")
    same = np.array_equal(first, subject.video(task)) or not subject.backend.deterministic
    must(same, f"the adapter {used.name} must give the same video each time, bit for bit")
    for number, total in _points(_reports(subject), 2):
        _ends(subject, StopsAtSteps(JobCancelled("cancelled"), number), task)
        subject.must_be_as_new(f"one with the adapter {used.name} that was cancelled at report {number} of {total}")


class Stops:
    """A `report` that raises `error` at its call `number`, from 1; 0 means never."""

    def __init__(self, error: Exception, number: int) -> None:
        self.error = error
        self.heard = 0
        self._number = number

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        self.heard += 1
        if self.heard == self._number:
            raise self.error


class StopsAtSteps(Stops):
    """A `Stops` that counts only reports of progress."""

    def __init__(self, error: Exception, number: int) -> None:
        super().__init__(error, number)
        self._last = 0

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        # the same number again checks whether the job goes on, as often as the clock says
        before, self._last = self._last, done
        if before != done:
            super().__call__(done, total, preview)


def _reports(subject: Subject) -> int:
    counts = StopsAtSteps(JobCancelled("never"), 0)
    subject.chunks(subject.task, counts)
    return counts.heard


def _points(total: int, most: int = 8) -> list[tuple[int, int]]:
    """Return up to `most` numbers from 1 to `total`, each with the total."""
    return [(int(number), total) for number in np.unique(np.linspace(1, total, min(total, most)).round())]


def _ends(subject: Subject, report: Stops, task: Task | None = None) -> Exception | None:
    """Return the error of a job with this report, None if all frames come."""
    try:
        subject.chunks(task or subject.task, report)
    except ContractBroken:  # it went on, and made something else than its task's frames
        return None
    except Exception as error:  # a backend may raise an error of its own instead
        return error
    return None
