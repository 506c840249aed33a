"""The work of each attempt is passed on, and what it took is learnt."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.engine_backends import Generates, Loads, job_of, queue
from support.prometheus import Scraped

from router import Frames, JobCancelled, OutOfMemory, Pixels, Task, hookimpl
from router.engine.worker import Worker
from router.jobs import JobStore, open_database
from router.metrics import page
from router.system import System
from router.values import Artifact, EstimateBasis, Failure, Job, Lease, Origin, Status, Usage, WorkSeconds

NOTHING = Usage()


class Booked(JobStore):
    """Keeps the work that is passed to it."""

    def __init__(self, data: Path) -> None:
        super().__init__(open_database(data / "jobs.sqlite"), lease_seconds=30, max_attempts=2, max_queued=100)
        self.used: list[tuple[str, Usage]] = []

    def finish(
        self, lease: Lease, artifact: Artifact, warnings: tuple[str, ...] = (), used: Usage = NOTHING
    ) -> Job | None:
        done = super().finish(lease, artifact, warnings, used)
        self.used += [("finish", used)] if done else []
        return done

    def fail(self, lease: Lease, failure: Failure, used: Usage = NOTHING, cause: str | None = None) -> Job | None:
        done = super().fail(lease, failure, used, cause)
        self.used += [("fail", used)] if done else []
        return done

    def book(self, lease: Lease, used: Usage) -> None:
        super().book(lease, used)
        self.used.append(("book", used))


def booked(system: System) -> tuple[System, Booked]:
    jobs = Booked(system.settings.data)
    return replace(system, jobs=jobs), jobs


def run(system: System, model: str = "text") -> Job:
    job = queue(system, model)
    Worker(system, "cpu").run_one()
    return job_of(system, job)


def blank(task: Task) -> Frames:
    import numpy as np

    pixels = np.zeros((task.num_frames, task.height, task.width, 3), np.uint8)
    return Frames(iter([pixels]), task.num_frames, task.width, task.height, 8)


def test_a_completed_job_has_used_its_steps_and_delivered_its_frames(build: Callable[..., System]) -> None:
    system, jobs = booked(build())
    assert run(system, "slow").status is Status.COMPLETED
    ((how, used),) = jobs.used

    assert how == "finish"
    assert (used.steps, used.frames, used.pixels, used.cost) == (4, 5, 5 * 64 * 64, 0.0)
    assert used.gpu_seconds >= 4 * 0.05


def test_a_job_that_fails_has_used_the_steps_before_and_delivered_nothing(build: Callable[..., System]) -> None:
    def generate(task: Task, report: Callable[..., None]) -> Frames:
        for step in (1, 2):
            report(step, task.steps)
        raise OutOfMemory("too large")

    system, jobs = booked(build(Generates(generate)))
    assert run(system).status is Status.FAILED
    ((how, used),) = jobs.used

    assert how == "fail"
    assert (used.steps, used.frames, used.pixels) == (2, 0, 0)
    assert used.gpu_seconds > 0


def test_a_job_that_fails_while_its_frames_are_decoded_has_used_all_its_steps(build: Callable[..., System]) -> None:
    def decode() -> Iterator[Pixels]:
        raise OutOfMemory("too large")
        yield

    def generate(task: Task, report: Callable[..., None]) -> Frames:
        report(task.steps, task.steps)
        return replace(blank(task), pixels=decode())

    system, jobs = booked(build(Generates(generate)))
    assert run(system).status is Status.FAILED

    assert [(how, used.steps, used.frames) for how, used in jobs.used] == [("fail", 4, 0)]


def test_a_cancelled_job_is_booked_with_what_it_used(build: Callable[..., System]) -> None:
    def generate(task: Task, report: Callable[..., None]) -> Frames:
        report(3, task.steps)
        system.jobs.cancel(job, "local")
        while True:
            report(3, task.steps)

    system, jobs = booked(build(Generates(generate)))
    job = queue(system)
    Worker(system, "cpu").run_one()

    assert job_of(system, job).status is Status.CANCELLED
    assert [(how, used.steps, used.frames) for how, used in jobs.used] == [("book", 3, 0)]
    assert jobs.used[0][1].gpu_seconds > 0


def test_a_job_that_was_cancelled_when_its_file_was_there_is_booked_too(build: Callable[..., System]) -> None:
    class CancelsLate:
        @hookimpl(tryfirst=True)
        def encode_output(self, frames: Frames, path: Path) -> bool:
            for _ in frames.pixels:
                pass
            path.write_bytes(b"a video")
            system.jobs.cancel(job, "local")
            return True

    system, jobs = booked(build(CancelsLate()))
    job = queue(system)
    Worker(system, "cpu").run_one()

    assert [(how, used.steps, used.frames) for how, used in jobs.used] == [("book", 4, 0)]


def test_a_load_that_fails_is_no_step(build: Callable[..., System]) -> None:
    system, jobs = booked(build(Loads(OutOfMemory("too large"))))
    assert run(system).status is Status.FAILED

    assert [(how, used.steps, used.frames) for how, used in jobs.used] == [("fail", 0, 0)]


def loads(system: System) -> list[tuple[str, str, int]]:
    """Return the model, the origin and the number of loads that were learnt."""
    with closing(sqlite3.connect(system.settings.data / "jobs.sqlite")) as db:
        return db.execute("SELECT model, origin, json_array_length(recent) FROM loads ORDER BY 1, 2").fetchall()


def booked_loads(system: System) -> dict[str, int]:
    """Return the number of loads in the ledger by model."""
    with closing(sqlite3.connect(system.settings.data / "jobs.sqlite")) as db:
        return dict(db.execute("SELECT model, attempts FROM ledger WHERE outcome = 'load' AND owner = ''"))


def work_began(system: System) -> float | None:
    with closing(sqlite3.connect(system.settings.data / "jobs.sqlite")) as db:
        ((began,),) = db.execute("SELECT began FROM attempts").fetchall()
    return began  # type: ignore[no-any-return]


def test_the_work_of_an_attempt_begins_after_the_load(build: Callable[..., System]) -> None:
    class Looks:
        seen: tuple[float | None, ...] = ()

        @hookimpl(tryfirst=True)
        def load_model(self, report: Callable[..., None]) -> None:
            report(1, 2)
            self.seen += (work_began(system),)

        @hookimpl(tryfirst=True)
        def generate(self, task: Task) -> None:
            self.seen += (work_began(system),)

    looks = Looks()
    system = build(looks)
    assert run(system).status is Status.COMPLETED
    assert looks.seen[0] is None
    assert looks.seen[1] is not None


def test_each_load_is_learnt_and_booked_and_one_that_fails_is_booked(build: Callable[..., System]) -> None:
    system = build(Loads(0.0, OutOfMemory("too large"), OutOfMemory("too large")))
    worker = Worker(system, "cpu")
    for model in ("text", "text", "both"):
        queue(system, model)
        worker.run_one()

    assert loads(system) == [("text", Origin.COLD, 1)]
    assert booked_loads(system) == {"text": 1, "both": 1}


def test_the_work_of_a_warm_up_is_booked_beside_its_load(build: Callable[..., System]) -> None:
    system = build()
    model = system.registries.model("text", None)
    assert model is not None
    Worker(system, "cpu")._warm_up.run(model)

    assert booked_loads(system) == {"text": 2}
    assert loads(system) == [("text", Origin.COLD, 1)]
    assert system.timings.expected([(model, job_task(system))])["text"][0].job is None


def job_task(system: System) -> Task:
    return job_of(system, queue(system)).task


def test_a_completed_job_is_learnt_and_others_are_not(build: Callable[..., System]) -> None:
    ends = iter([JobCancelled("cancelled"), OutOfMemory("too large")])

    def generate(task: Task, report: Callable[..., None]) -> Frames:
        if end := next(ends, None):
            raise end
        return blank(task)

    system = build(Generates(generate))
    model = system.registries.model("text", None)
    assert model is not None
    for known in (False, False, True):
        task = run(system).task
        assert (system.timings.estimate(model, task, ["cpu"]) is not None) is known


@pytest.mark.parametrize(
    ("plugins", "is_split"), [([Generates(lambda task, report: blank(task))], 0), ([], 1)], ids=["none", "each"]
)
def test_a_job_that_reports_no_steps_is_learnt_as_such(
    build: Callable[..., System], plugins: list[object], is_split: int
) -> None:
    system = build(*plugins)
    run(system, "slow")
    with closing(sqlite3.connect(system.settings.data / "jobs.sqlite")) as db:
        assert db.execute("SELECT is_split FROM timings").fetchall() == [(is_split,)]


def test_the_first_job_of_all_tells_how_long_those_behind_it_take(build: Callable[..., System]) -> None:
    system = build()
    waiting = [queue(system, model) for model in ("slow", "slow", "text")]
    assert [job_of(system, job).estimate for job in waiting] == [None] * 3
    Worker(system, "cpu").run_one()
    first, *others = [job_of(system, job) for job in waiting]

    assert first.status is Status.COMPLETED
    for job in others:
        assert job.estimate is not None
        assert job.estimate >= 4 * 0.05
        assert job.remaining is not None


@pytest.mark.parametrize(("learnt", "basis"), [("text", EstimateBasis.MEASURED), ("both", EstimateBasis.BORROWED)])
def test_the_error_of_what_was_expected_is_observed(
    build: Callable[..., System], learnt: str, basis: EstimateBasis
) -> None:
    system = build()
    task, model = job_task(system), system.registries.model(learnt, None)
    assert model is not None
    seconds = WorkSeconds(text=0.0, steps=1e6, decode=0.0, encode=0.0)
    system.timings.learn("cpu", model, task, seconds)
    Worker(system, "cpu").run_one()
    scraped = Scraped(page(system.metrics.folder, system.jobs, system.engines, system.ledger, (), free=0).decode())

    assert scraped.value("framegate_estimate_error_count", model="text", basis=basis) == 1
    assert scraped.value("framegate_estimate_error_bucket", model="text", basis=basis, le="2.0") == 0
    assert scraped.value("framegate_estimate_error_sum", model="text", basis=basis) > 1000


def test_a_first_job_of_all_has_no_error(build: Callable[..., System]) -> None:
    system = build()
    run(system)
    scraped = Scraped(page(system.metrics.folder, system.jobs, system.engines, system.ledger, (), free=0).decode())

    assert scraped.value("framegate_estimate_error_count") == 0


def test_jobs_that_were_queued_before_any_was_measured_are_estimated_then(build: Callable[..., System]) -> None:
    system = build()
    first, *others = (queue(system, model) for model in ("text", "text", "both"))
    before = [job_of(system, job).estimate for job in (first, *others)]
    worker = Worker(system, "cpu")
    worker.run_one()
    after = [job_of(system, job) for job in (first, *others)]

    assert before == [None, None, None]
    assert after[0].status is Status.COMPLETED
    assert [job.estimate is not None and job.estimate > 0 for job in after] == [False, True, True]
    assert [job.remaining is not None for job in after[1:]] == [True, True]
    known = after[1].estimate
    worker.run_one()
    assert job_of(system, others[0]).estimate == known  # an estimate stays: a budget was checked with it
