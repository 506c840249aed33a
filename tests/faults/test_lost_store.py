"""An engine without its PostgreSQL for a while, at any moment of a job."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import SQLAlchemyError
from support.link import Link
from support.patience import until
from werkzeug.test import TestResponse

from router import Frames, LoadFailed, Task, hookimpl
from router.engine.worker import Worker
from router.jobs import ClaimRequest, JobStore
from router.system import System
from router.values import EngineState, Failure, Job, Status
from router.web import create_app

LEASE_SECONDS = 2.0  # of the systems of `build`
Build = Callable[..., System]
MOMENTS = ("load", "step", "decode", "end")
BODY = {"model": "text", "prompt": "a"}


class Held:
    """A backend that waits at a moment of its first job."""

    def __init__(self, moment: str = "", error: Exception | None = None) -> None:
        self._moment = moment
        self._error = error
        self.reached, self.go = Event(), Event()

    @hookimpl(tryfirst=True)
    def load_model(self) -> None:
        self._at("load")

    @hookimpl(tryfirst=True)
    def generate(self, task: Task, report: Callable[..., None]) -> Frames:
        for step in range(task.steps):
            report(step + 1, task.steps)
            self._at("step")
        return Frames(self._frames(task), task.num_frames, task.width, task.height, task.frames_per_second)

    def _frames(self, task: Task) -> Iterator[np.ndarray]:
        for number in range(task.num_frames):
            yield np.full((1, task.height, task.width, 3), number, np.uint8)
            self._at("decode")
        self._at("end")
        if self._error is not None:
            raise self._error

    def _at(self, moment: str) -> None:
        if moment == self._moment and not self.go.is_set():
            self.reached.set()
            assert self.go.wait(60)


class Heard:
    """A listener that keeps the statuses."""

    def __init__(self) -> None:
        self.statuses: list[Status] = []

    @hookimpl
    def job_changed(self, job: Job) -> None:
        self.statuses.append(job.status)


@contextmanager
def engine(system: System) -> Iterator[Worker]:
    worker = Worker(system, "cpu")
    thread = Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.keeper.stop()
        thread.join(60)
        assert not thread.is_alive()


def ask(system: System, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = create_app(system).test_client().post("/v1/videos", json=BODY, headers=headers)
    return answer.status_code, answer.get_json()


def queued(system: System) -> str:
    return str(ask(system)[1]["id"].removeprefix("video_"))


def answers(ask: Callable[[], tuple[EngineState, ...]]) -> tuple[EngineState, ...]:
    """Return what a store answers, nothing without it."""
    try:
        return ask()
    except SQLAlchemyError:
        return ()


def ended(seen: JobStore, job_id: str) -> Job:
    def look() -> Job | None:
        job = seen.get(job_id, None)
        return job if job is not None and job.status.finished else None

    return until(look)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_job_outlasts_the_loss_of_its_store(
    build: Build, link: tuple[Link, str], seen: JobStore, moment: str
) -> None:
    held = Held(moment)
    system = build(held)
    job = queued(system)
    with engine(system):
        assert held.reached.wait(60)
        link[0].cut()
        lease_is_over = Event()
        assert not lease_is_over.wait(LEASE_SECONDS + 0.5)
        held.go.set()
        assert not lease_is_over.wait(0.5)
        assert seen.get(job, None).status is Status.IN_PROGRESS  # type: ignore[union-attr]
        link[0].heal()
        done = ended(seen, job)

    assert (done.status, done.attempt) == (Status.COMPLETED, 1)
    assert system.artifacts.output(done) is not None


def test_an_end_whose_commit_was_not_answered_is_kept(
    build: Build, link: tuple[Link, str], seen: JobStore, postgres_url: str
) -> None:
    held = Held("end")
    system = build(held)
    job = queued(system)
    with engine(system):
        assert held.reached.wait(60)
        link[0].cut_after(b'"sha256"', b"COMMIT")
        held.go.set()
        assert link[0].has_cut.wait(60)
        done = ended(seen, job)
        link[0].heal()
        following = ended(seen, queued(build(store=postgres_url)))

    assert (done.status, done.attempt, following.status) == (Status.COMPLETED, 1, Status.COMPLETED)
    assert system.artifacts.output(done) is not None


def test_a_failure_whose_commit_was_not_answered_is_kept(build: Build, link: tuple[Link, str], seen: JobStore) -> None:
    held, heard = Held("end", LoadFailed("it has no head")), Heard()
    system = build(held, heard)
    job = queued(system)
    with engine(system):
        assert held.reached.wait(60)
        link[0].cut_after(b"it has no head", b"COMMIT")
        held.go.set()
        assert link[0].has_cut.wait(60)
        link[0].heal()
        done = ended(seen, job)
        until(lambda: Status.FAILED in heard.statuses)

    assert done.failure == Failure("load_failed", "it has no head")


def test_a_claim_whose_commit_was_not_answered_is_run(
    build: Build, link: tuple[Link, str], seen: JobStore, postgres_url: str
) -> None:
    system = build(lease_seconds=600.0)
    with engine(system):
        until(system.engines.alive)
        link[0].cut_after(b"INSERT INTO attempts", b"COMMIT")
        job = queued(build(store=postgres_url))
        assert link[0].has_cut.wait(60)
        held = seen.get(job, None)
        link[0].heal()
        done = ended(seen, job)

    assert held is not None
    assert (held.status, held.attempt) == (Status.IN_PROGRESS, 1)
    assert (done.status, done.attempt) == (Status.COMPLETED, 1)


def test_a_request_whose_commit_was_not_answered_is_one_job(build: Build, link: tuple[Link, str]) -> None:
    system = build()
    client = create_app(system).test_client()
    link[0].cut_after(b"INSERT INTO jobs", b"COMMIT")
    refused = client.post("/v1/videos", json=BODY, headers={"idempotency-key": "once"})
    assert link[0].has_cut.wait(60)
    link[0].heal()

    def again() -> TestResponse | None:
        answer = client.post("/v1/videos", json=BODY, headers={"idempotency-key": "once"})
        return answer if answer.status_code == 200 else None

    repeated = until(again).get_json()
    jobs = client.get("/v1/videos").get_json()["data"]

    assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "store_unavailable")
    assert [job["id"] for job in jobs] == [repeated["id"]]


def test_an_engine_that_finds_its_job_taken_discards_its_file(
    build: Build, link: tuple[Link, str], seen: JobStore
) -> None:
    held = Held("end")
    system = build(held)
    job = queued(system)
    with engine(system):
        assert held.reached.wait(60)
        link[0].cut()
        until(lambda: seen.expire())
        held.go.set()
        link[0].heal()
        done = ended(seen, job)

    assert (done.status, done.attempt) == (Status.COMPLETED, 2)
    assert [path.name for path in (system.settings.data / "videos" / job).iterdir()] == ["2.mp4"]


def test_an_engine_that_finds_the_store_again_leaves_others_time_to_renew(
    build: Build, link: tuple[Link, str], seen: JobStore
) -> None:
    rival = build(lease_seconds=3.0, renew_seconds=1.0)
    job = queued(rival)
    assert rival.jobs.claim("first", ClaimRequest(("text",)))
    with engine(rival):
        until(rival.engines.alive)
        link[0].cut()
        assert not Event().wait(3.5)  # the lease of the first is over
        link[0].heal()
        until(lambda: any(each.age < 0.9 for each in answers(rival.engines.seen)))
        running = seen.get(job, None)
        done = ended(seen, job)

    assert running is not None
    assert (running.status, running.attempt) == (Status.IN_PROGRESS, 1)
    assert (done.status, done.attempt) == (Status.COMPLETED, 2)


def test_an_outage_is_two_lines_of_the_log(
    build: Build, link: tuple[Link, str], seen: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held("step")
    system = build(held)
    job = queued(system)
    with engine(system):
        assert held.reached.wait(60)
        caplog.clear()
        link[0].cut()
        held.go.set()
        until(lambda: "cannot be used now" in caplog.text)
        assert not Event().wait(1.5)
        link[0].heal()
        ended(seen, job)
        until(lambda: "is back after" in caplog.text)

    lines = [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    lines = [line for line in lines if link[1] in line or "postgresql+psycopg://" not in line]  # without other tests'
    assert len(lines) == 2, lines
    assert "trying again" in lines[0]
    assert "is back after" in lines[1]
