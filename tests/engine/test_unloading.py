"""A backend that fails as it cleans up harms no other model's job, and does not end the engine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread

import numpy as np
import pytest

from router import Frames, Task, hookimpl
from router.engine.worker import Worker
from router.errors import DeviceLost
from router.system import System
from router.values import Status
from router.web import create_app


class Fails:
    """Raises an error wherever a backend cleans up, or describes what it has."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.unloaded = 0

    @hookimpl(tryfirst=True)
    def unload_model(self) -> None:
        self.unloaded += 1
        raise self.error

    @hookimpl(tryfirst=True)
    def describe_loaded(self) -> None:
        raise RuntimeError("indescribable")


class Sticky:
    """Frames that cannot be closed."""

    def __init__(self, task: Task) -> None:
        self._frames = iter([np.zeros((task.num_frames, task.height, task.width, 3), np.uint8)])

    def __iter__(self) -> Sticky:
        return self

    def __next__(self) -> np.ndarray:
        return next(self._frames)

    def close(self) -> None:
        raise RuntimeError("it is stuck")


class Generates:
    @hookimpl(tryfirst=True)
    def generate(self, task: Task) -> Frames:
        return Frames(Sticky(task), task.num_frames, task.width, task.height, task.frames_per_second)


def queue(system: System, model: str) -> str:
    body = {"model": model, "input": "a", "background": True}
    answer = create_app(system).test_client().post("/v1/responses", json=body)
    return str(answer.get_json()["id"].removeprefix("resp_"))


ERRORS = [RuntimeError("no"), MemoryError(), DeviceLost("gone"), OSError(5, "I/O"), SystemExit(3)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_unload_that_raises_fails_no_other_job_and_the_engine_stops_in_good_order(
    build: Callable[..., System], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    fails = Fails(error)
    system = build(fails, resident_models=1)
    worker = Worker(system, "cpu")
    jobs = [queue(system, model) for model in ("text", "slow", "text", "slow")]

    for job in jobs:
        assert worker.run_one(job)

    done = [system.jobs.get(job, "local") for job in jobs]
    assert [job.status for job in done if job] == [Status.COMPLETED] * 4
    assert fails.unloaded == 3  # each time another model had to leave
    assert "failed to unload text, which counts as gone" in caplog.text
    thread = Thread(target=worker.run)  # stops at once, and unloads the last one
    worker.keeper.stop()
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert fails.unloaded == 4
    assert worker._residency.names == ()


def test_frames_that_cannot_be_closed_cost_the_job_nothing(
    build: Callable[..., System], caplog: pytest.LogCaptureFixture
) -> None:
    system = build(Generates())
    job = queue(system, "text")

    with caplog.at_level(logging.ERROR):
        Worker(system, "cpu").run_one(job)

    done = system.jobs.get(job, "local")
    assert done is not None
    assert done.status is Status.COMPLETED
    assert "failed to close its frames" in caplog.text
