"""Attempts: each failure has its code, and a lost job leaves no file."""

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import MODELS, leftovers
from support.engine_backends import Generates, Loads, job_of, queue
from support.sse import parse

from router import Frames, NumericalError, OutOfMemory, Task, hookimpl
from router.engine.worker import Worker
from router.errors import DeviceLost, LoadFailed
from router.settings import Settings
from router.system import System, assemble
from router.values import Status
from router.web import create_app


def few_frames(task: Task, report: object) -> Frames:
    frames = iter([np.zeros((2, task.height, task.width, 3), np.uint8)])
    return Frames(frames, task.num_frames, task.width, task.height, task.frames_per_second)


def raising(error: Exception) -> Generates:
    def generate(task: Task, report: object) -> Frames:
        raise error

    return Generates(generate)


def breaking(error: Exception) -> Generates:
    """Frames whose pixels raise after the first."""

    def pixels(task: Task) -> Iterator[np.ndarray]:
        yield np.zeros((1, task.height, task.width, 3), np.uint8)
        raise error

    return Generates(lambda task, report: Frames(pixels(task), task.num_frames, task.width, task.height, 8))


def test_warnings_that_are_known_after_the_last_frame_reach_every_answer(build: Callable[..., System]) -> None:
    seen: list[str] = []

    def pixels(task: Task) -> Iterator[np.ndarray]:
        yield np.zeros((task.num_frames, task.height, task.width, 3), np.uint8)
        seen.append("late")

    def generate(task: Task, report: object) -> Frames:
        size = task.num_frames, task.width, task.height, task.frames_per_second
        return Frames(pixels(task), *size, warnings=("early",), late_warnings=lambda: tuple(seen))

    system = build(Generates(generate))
    job = queue(system)
    Worker(system, "cpu").run_one()
    client = create_app(system).test_client()
    streamed = client.get(f"/v1/responses/resp_{job}?stream=true").get_data()

    assert job_of(system, job).warnings == ("early", "late")
    assert client.get(f"/v1/responses/resp_{job}").get_json()["warnings"] == ["early", "late"]
    assert client.get(f"/v1/videos/video_{job}").get_json()["warnings"] == ["early", "late"]
    (end,) = [event for event in parse(streamed) if event["type"] == "response.completed"]
    assert end["response"]["warnings"] == ["early", "late"]


@pytest.mark.parametrize(
    ("plugin", "code"),
    [
        (raising(OutOfMemory("too large: ask for fewer frames")), "out_of_memory"),
        (raising(NumericalError("NaN")), "numerical_error"),
        (raising(MemoryError()), "out_of_memory"),
        (raising(RuntimeError("secret")), "generation_failed"),
        (breaking(OutOfMemory("too large")), "out_of_memory"),
        (breaking(RuntimeError("secret")), "generation_failed"),
        (breaking(OSError(errno.ENOSPC, "secret")), "disk_full"),
        (Generates(few_frames), "generation_failed"),
        (Generates(lambda task, report: "no frames"), "generation_failed"),  # type: ignore[arg-type, return-value]
        (Loads(LoadFailed("no such file")), "load_failed"),
        (Loads(RuntimeError("secret")), "load_failed"),
    ],
)
def test_each_failure_has_its_code_and_costs_one_job(build: Callable[..., System], plugin: object, code: str) -> None:
    system = build(plugin)
    failed, next_one = queue(system), queue(system, "both")
    worker = Worker(system, "cpu")
    worker.run_one()

    job = job_of(system, failed)
    assert job.failure is not None
    assert (job.status, job.failure.code) == (Status.FAILED, code)
    assert "secret" not in job.failure.message
    assert leftovers(system) == []
    worker.run_one()
    assert job_of(system, next_one).status.finished


@pytest.mark.parametrize("plugin", [raising(RuntimeError("secret")), breaking(RuntimeError("secret"))])
def test_the_exception_behind_a_failure_is_for_administrators_only(
    build: Callable[..., System], plugin: object
) -> None:
    system = build(plugin)
    job = queue(system)
    Worker(system, "cpu").run_one()
    client = create_app(system).test_client()
    (failure,) = client.get("/admin/failures").get_json()["data"]

    assert failure["cause"] == "RuntimeError: secret"
    for path in (f"/v1/videos/video_{job}", f"/v1/responses/resp_{job}", f"/v1/videos/video_{job}/content"):
        assert "secret" not in client.get(path).text


def test_an_attempt_that_runs_too_long_fails_at_its_next_report(build: Callable[..., System]) -> None:
    stopped = []

    def endless(task: Task, report: Callable[..., None]) -> Frames:
        try:
            while True:
                report(1, task.steps)
                time.sleep(0.01)
        finally:
            stopped.append(task)

    system = build(Generates(endless), job_seconds=0.2)
    job = queue(system)
    Worker(system, "cpu").run_one()

    failure = job_of(system, job).failure
    assert failure is not None
    assert failure.code == "timed_out"
    assert "was at 1 of 4 in phase step after 0.2 seconds, the longest that it may run" in failure.message
    assert (len(stopped), leftovers(system)) == (1, [])


def test_frames_that_nobody_encodes_say_so(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(MODELS)
    system = assemble(Settings(data=tmp_path / "data", models=tmp_path / "models.yaml"))
    job = queue(system)
    Worker(system, "cpu").run_one()

    failure = job_of(system, job).failure
    assert failure is not None
    assert failure.message == "no plugin of this engine writes .mp4 files"


def test_a_finish_that_lost_its_lease_removes_its_file(build: Callable[..., System]) -> None:
    def cancelled_meanwhile(task: Task, report: object) -> Frames:
        def pixels() -> Iterator[np.ndarray]:
            yield np.zeros((task.num_frames, task.height, task.width, 3), np.uint8)
            system.jobs.cancel(job, "local")

        return Frames(pixels(), task.num_frames, task.width, task.height, 8)

    system = build(Generates(cancelled_meanwhile))
    job = queue(system)
    Worker(system, "cpu").run_one()

    assert job_of(system, job).status is Status.CANCELLED
    assert leftovers(system) == []


def test_a_job_that_is_deleted_while_it_is_encoded_is_no_error(
    build: Callable[..., System], caplog: pytest.LogCaptureFixture
) -> None:
    class Encodes:
        @hookimpl(tryfirst=True)
        def encode_output(self, frames: Frames, path: Path) -> bool:
            path.write_bytes(b"".join(chunk.tobytes() for chunk in frames.pixels))
            system.jobs.delete(job, "local")
            system.artifacts.delete(job)
            return True

    system = build(Encodes())
    job = queue(system)

    Worker(system, "cpu").run_one()

    assert leftovers(system) == []
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_lost_device_ends_the_engine_and_not_the_job(build: Callable[..., System]) -> None:
    system = build(raising(DeviceLost("CUDA error: illegal memory access")))
    job = queue(system)
    with pytest.raises(DeviceLost):
        Worker(system, "cpu").run_one()

    assert job_of(system, job).status is Status.IN_PROGRESS  # until its lease runs out, or the next engine inherits
