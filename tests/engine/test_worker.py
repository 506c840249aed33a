"""One engine: each failure has its code, a lost job leaves no file, and stopping gives the work back."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from conftest import MODELS, leftovers
from sqlalchemy import text
from support.patience import until
from support.sse import parse

from router import Frames, Job, NumericalError, OutOfMemory, Task, hookimpl
from router.engine import encoder
from router.engine.pool import PartPool
from router.engine.worker import Worker
from router.errors import BootError, DeviceLost, LoadFailed
from router.jobs import ClaimRequest, Database
from router.plugins import Plugins
from router.settings import Settings
from router.system import System, assemble
from router.values import Status
from router.web import create_app


class Generates:
    """Answers `generate` in the place of the backend."""

    def __init__(self, generate: Callable[[Task, Callable[..., None]], Frames]) -> None:
        self._generate = generate

    @hookimpl(tryfirst=True)
    def generate(self, task: Task, report: Callable[..., None]) -> Frames:
        return self._generate(task, report)


class Loads:
    """Answers `load_model` in the place of the backend."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)
        self.unloaded: list[str] = []

    @hookimpl(tryfirst=True)
    def load_model(self, pool: object) -> object:
        answer = self._answers.pop(0) if self._answers else 0.0
        if isinstance(answer, Exception):
            raise answer
        return answer

    @hookimpl
    def unload_model(self, model: object) -> None:
        self.unloaded.append(model.name)  # type: ignore[attr-defined]


def queue(system: System, model: str = "text") -> str:
    body = {"model": model, "input": "a", "background": True}
    answer = create_app(system).test_client().post("/v1/responses", json=body)
    return str(answer.get_json()["id"].removeprefix("resp_"))


def job_of(system: System, job_id: str) -> Job:
    job = system.jobs.get(job_id, "local")
    assert job is not None
    return job


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


def test_a_lost_device_ends_the_engine_and_not_the_job(build: Callable[..., System]) -> None:
    system = build(raising(DeviceLost("CUDA error: illegal memory access")))
    job = queue(system)
    with pytest.raises(DeviceLost):
        Worker(system, "cpu").run_one()

    assert job_of(system, job).status is Status.IN_PROGRESS  # until its lease runs out, or the next engine inherits


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


def test_the_least_recently_used_model_leaves(build: Callable[..., System]) -> None:
    loads = Loads()
    system = build(loads, resident_models=2)
    worker = Worker(system, "cpu")
    for model in ("text", "slow", "text", "both"):
        body = {"model": model, "input": "a", "background": True, "provider_options": {"video": {"steps": 1}}}
        create_app(system).test_client().post("/v1/responses", json=body)
        worker.run_one()

    assert loads.unloaded == ["slow"]


def test_a_load_out_of_memory_is_tried_again_alone(build: Callable[..., System]) -> None:
    loads = Loads(0.0, OutOfMemory("too large"), 0.0)
    system = build(loads)
    jobs = [queue(system, model) for model in ("text", "both")]
    worker = Worker(system, "cpu")
    for _ in jobs:
        worker.run_one()

    assert [job_of(system, job).status for job in jobs] == [Status.COMPLETED] * 2
    assert loads.unloaded == ["text"]


def test_a_part_leaves_with_its_last_holder() -> None:
    pool, loaded = PartPool(), []

    def load() -> str:
        loaded.append(1)
        return "the encoder"

    parts = [pool.share_of(model).part("key", load) for model in ("a", "b")]
    assert (parts, len(loaded)) == (["the encoder"] * 2, 1)
    pool.release("a")
    assert pool.holders() == {"key": {"b"}}
    pool.release("b")
    assert pool.holders() == {}
    assert pool.share_of("c").private(load) == "the encoder"
    assert list(pool.holders().values()) == [{"c"}]
    pool.release("c")
    assert pool.holders() == {}


def test_stopping_gives_the_running_job_back_and_tells_the_listeners(build: Callable[..., System]) -> None:
    class Listener:
        heard: list[tuple[Status, int]] = []  # noqa: RUF012

        @hookimpl
        def job_changed(self, job: Job) -> None:
            self.heard.append((job.status, job.attempt))

    listener = Listener()
    system = build(listener)
    body = {"model": "slow", "input": "a", "background": True, "provider_options": {"video": {"steps": 60}}}
    job = create_app(system).test_client().post("/v1/responses", json=body).get_json()["id"].removeprefix("resp_")
    worker = Worker(system, "cpu")
    thread = Thread(target=worker.run)
    thread.start()
    until(lambda: job_of(system, job).progress is not None)
    worker.keeper.stop()
    thread.join(30)

    assert not thread.is_alive()
    assert job_of(system, job).status is Status.QUEUED
    assert listener.heard == [(Status.QUEUED, 0), (Status.IN_PROGRESS, 1), (Status.QUEUED, 1)]


def test_a_job_claimed_while_stopping_is_given_back(build: Callable[..., System]) -> None:
    system = build()
    job = queue(system)
    worker = Worker(system, "cpu")
    worker.keeper.stop()
    worker.run_one()

    assert job_of(system, job).status is Status.QUEUED


def test_a_store_that_fails_for_a_while_stops_no_engine(build: Callable[..., System], tmp_path: Path) -> None:
    system = build(renew_seconds=0.05, lease_seconds=2)
    worker = Worker(system, "cpu")
    thread = Thread(target=worker.run, daemon=True)
    thread.start()
    time.sleep(0.2)
    database = Database(tmp_path / "data" / "jobs.sqlite")
    with database.write() as db:
        db.execute(text("ALTER TABLE engines RENAME TO away"))
    time.sleep(0.3)
    with database.write() as db:
        db.execute(text("ALTER TABLE away RENAME TO engines"))
    job = queue(system)
    until(lambda: job_of(system, job).status.finished)
    worker.keeper.stop()
    thread.join(60)

    assert job_of(system, job).status is Status.COMPLETED


def test_an_engine_that_can_run_nothing_does_not_start(tmp_path: Path) -> None:
    plugin = tmp_path / "needy.py"
    plugin.write_text(
        "from router import Backend, Modality, hookimpl\n@hookimpl\ndef declare_backend():\n"
        "    return Backend('needy', frozenset({Modality.T2V}), requires=('nowhere_to_be_found',), extra='needy')\n"
    )
    (tmp_path / "models.yaml").write_text("models: {m: {backend: needy, modality: t2v}}")
    system = assemble(Settings(data=tmp_path / "data", models=tmp_path / "models.yaml", plugins=(plugin,)))

    with pytest.raises(
        BootError, match=r"the backend needy needs nowhere_to_be_found: pip install 'framegate\[needy\]'"
    ):
        Worker(system, "cpu")


def test_the_encoder_is_a_plugin_like_any_other() -> None:
    assert Plugins([encoder]).hook.encode_output.get_hookimpls()[0].plugin is encoder


def test_a_model_to_warm_up_is_ready_before_anybody_asks_and_one_that_cannot_stops_nobody(
    build: Callable[..., System], caplog: pytest.LogCaptureFixture
) -> None:
    loads = Loads(OutOfMemory("too large"), 0.0)
    system = build(loads)
    path = system.settings.models
    path.write_text(path.read_text().replace("modality: t2v,", "modality: t2v, warm_up: true,"))
    system = assemble(system.settings, plugins=[encoder, loads])
    warm = [model.name for model in system.registries.poll().models if model.warm_up]
    worker = Worker(system, "cpu")
    worker._warm_up()

    assert warm == ["text", "slow", "far"]
    assert worker._residency.names == ("slow",)
    assert "text could not be warmed up" in caplog.text
    assert "far could not be warmed up" in caplog.text  # its weights are not here


def test_a_model_is_warmed_up_at_each_of_its_sizes(build: Callable[..., System]) -> None:
    seen: list[str] = []

    def generate(task: Task, report: Callable[..., None]) -> Frames:
        seen.append(f"{task.width}x{task.height}x{task.num_frames}, {task.steps}")
        blank = np.zeros((task.num_frames, task.height, task.width, 3), np.uint8)
        return Frames(iter([blank]), task.num_frames, task.width, task.height, 8)

    system = build()
    path = system.settings.models
    path.write_text(path.read_text().replace("modality: t2v, aliases", "modality: t2v, warm_up: [32x48x5], aliases"))
    Worker(assemble(system.settings, plugins=[encoder, Generates(generate)]), "cpu")._warm_up()

    assert seen == ["64x64x1, 1", "32x48x5, 1"]


def test_a_pinned_model_stays(build: Callable[..., System]) -> None:
    loads = Loads()
    system = build(loads, resident_models=2)
    path = system.settings.models
    path.write_text(path.read_text().replace("text: {backend: still,", "text: {pin: true, backend: still,"))
    system = assemble(system.settings, plugins=[encoder, loads])
    worker = Worker(system, "cpu")
    for model in ("text", "slow", "both"):
        body = {"model": model, "input": "a", "background": True, "provider_options": {"video": {"steps": 1}}}
        create_app(system).test_client().post("/v1/responses", json=body)
        worker.run_one()

    assert worker._residency.names == ("text", "both")
    assert loads.unloaded == ["slow"]


def edited(build: Callable[..., System], *changes: tuple[str, str]) -> System:
    """Return a system whose models file has each `one` replaced by `other`."""
    system = build()
    path = system.settings.models
    for one, other in changes:
        path.write_text(path.read_text().replace(one, other))
    return assemble(system.settings, plugins=[encoder])


def test_an_engine_takes_jobs_for_the_models_of_its_device(build: Callable[..., System]) -> None:
    system = edited(build, ("text: {", "text: {devices: [cuda], "), ("image: {", "image: {devices: [cpu], "))

    assert "text" not in Worker(system, "cpu").models
    assert "text" in Worker(system, "cuda:1").models
    assert "image" not in Worker(system, "cuda:1").models


def test_an_engine_without_a_model_for_its_device_says_so(build: Callable[..., System]) -> None:
    system = edited(build, ("backend: still", "devices: [cuda:1], backend: still"))

    with pytest.raises(BootError, match=r"no model can run here, on cpu: text is for cuda:1; image is for"):
        Worker(system, "cpu")


def test_a_job_for_what_is_loaded_goes_first_and_one_of_a_higher_priority_before_it(
    build: Callable[..., System],
) -> None:
    system = edited(build, ("both: {", "both: {priority: 1, "))
    worker = Worker(system, "cpu")
    queue(system, "text")
    worker.run_one()
    for model in ("slow", "slow", "slow", "text", "both"):
        queue(system, model)
    for _ in range(2):
        system.jobs.claim("other", ClaimRequest(["slow"]))  # what comes first is never overtaken
    order = []
    for _ in range(3):
        before = worker._residency.names
        worker.run_one()
        order.append([*(set(worker._residency.names) - set(before)), worker._residency.names[-1]][0])

    assert order == ["both", "text", "slow"]


def test_what_an_engine_has_loaded_and_how_fast_it_was_is_known_at_once(build: Callable[..., System]) -> None:
    system = build()
    worker = Worker(system, "cpu")
    queue(system, "slow")
    worker.run_one()
    again = job_of(system, queue(system, "slow"))
    pace = system.timings.of("slow", again.task.shape)

    assert [engine.resident for engine in system.engines.alive()] == [("slow",)]
    assert pace is not None
    assert pace.step >= 0.05
    assert again.estimate == again.remaining == pace.seconds(again.task.steps)
