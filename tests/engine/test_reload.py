"""A reload in an engine: jobs run under their revisions, unneeded models are unloaded."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.patience import until

from registry import Modality, ModelSpec
from router import Backend, Frames, Job, Task, hookimpl
from router.engine import encoder
from router.engine.worker import LOOK_SECONDS, Worker
from router.settings import Settings
from router.system import System, assemble
from router.values import Status
from router.web import create_app

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, steps: 2, negative_prompt: ''}"


class Remembers:
    """A backend whose loaded objects are the modalities of their models."""

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("remembers", frozenset(Modality))

    @hookimpl
    def load_model(self, model: ModelSpec) -> object:
        self.done.append(("load", model.name, model.modality.word))
        return model.modality.word

    @hookimpl
    def unload_model(self, model: ModelSpec, loaded: str) -> None:
        self.done.append(("unload", model.name, loaded))

    @hookimpl
    def generate(self, model: ModelSpec, loaded: str, task: Task) -> Frames:
        self.done.append(("run", model.name, loaded, str(model.limits.steps)))
        frames = iter([np.zeros((task.num_frames, task.height, task.width, 3), np.uint8)])
        return Frames(frames, task.num_frames, task.width, task.height, task.frames_per_second)


class House:
    """A web process and an engine over one data folder and models file."""

    def __init__(self, folder: Path) -> None:
        self.backend = Remembers()
        self.settings = Settings(data=folder / "data", models=folder / "models.yaml")
        self.settings.models.write_text(_file(a="modality: t2v", b="modality: t2v"))
        self.system = self.process()

    def process(self, **settings: object) -> System:
        return assemble(replace(self.settings, **settings), plugins=[encoder, self.backend])  # type: ignore[arg-type]

    def reload(self, **models: str) -> None:
        self.settings.models.write_text(_file(**models))
        self.system.registries.reload()
        until(lambda: self.system.registries.poll().revision == self.system.registries._store.newest())

    def queue(self, model: str) -> str:
        body = {"model": model, "input": "a", "background": True}
        answer = create_app(self.system).test_client().post("/v1/responses", json=body)
        return str(answer.get_json()["id"].removeprefix("resp_"))

    def job(self, name: str) -> Job:
        job = self.system.jobs.get(name, "local")
        assert job is not None
        return job

    def take_up(self, worker: Worker) -> None:
        time.sleep(LOOK_SECONDS)
        worker.follow_registry()


def _file(**models: str) -> str:
    return "models:\n" + "".join(
        f"  {name}: {{backend: remembers, {SMALL}, {said}}}\n" for name, said in models.items()
    )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_job_runs_as_the_revision_had_it_that_accepted_it(house: House) -> None:
    first = house.queue("a")
    house.reload(a="modality: ti2v", b="modality: t2v")
    second = house.queue("a")
    worker = Worker(house.process(), "cpu")
    worker.run_one()
    worker.run_one()

    assert house.backend.done == [
        ("load", "a", "t2v"),
        ("run", "a", "t2v", "100"),
        ("unload", "a", "t2v"),
        ("load", "a", "ti2v"),
        ("run", "a", "ti2v", "100"),
    ]
    assert [house.job(job).status for job in (first, second)] == [Status.COMPLETED] * 2


def test_an_engine_that_has_not_looked_yet_runs_a_job_of_the_new_revision(house: House) -> None:
    worker = Worker(house.process(), "cpu")
    house.reload(a="modality: ti2v")
    job = house.queue("a")
    worker.run_one()

    assert (house.backend.done[0], house.job(job).status) == (("load", "a", "ti2v"), Status.COMPLETED)


def test_limits_change_without_a_load(house: House) -> None:
    house.queue("a")
    house.reload(a="modality: t2v, limits: {steps: 7}, pin: true", b="modality: t2v")
    house.queue("a")
    worker = Worker(house.process(), "cpu")
    worker.run_one()
    worker.run_one()

    assert house.backend.done == [("load", "a", "t2v"), ("run", "a", "t2v", "100"), ("run", "a", "t2v", "7")]


def test_a_removed_model_finishes_its_jobs_and_is_unloaded_then(house: House) -> None:
    worker = Worker(house.process(), "cpu")
    jobs = [house.queue("b"), house.queue("b")]
    worker.run_one()
    house.reload(a="modality: t2v")
    house.take_up(worker)
    assert (worker.models, worker._state().models) == (("a", "b"), ("a", "b"))
    assert worker._residency.names == ("b",)

    worker.run_one()
    house.take_up(worker)

    assert [house.job(job).status for job in jobs] == [Status.COMPLETED] * 2
    assert (worker.models, worker._residency.names) == (("a",), ())
    assert house.backend.done.count(("load", "b", "t2v")) == 1


def test_a_changed_model_that_no_job_needs_is_unloaded(house: House) -> None:
    worker = Worker(house.process(), "cpu")
    house.queue("a")
    worker.run_one()
    house.reload(a="modality: ti2v, pin: true", b="modality: t2v")
    house.take_up(worker)

    assert (worker._residency.names, worker._residency.warm) == ((), ())


def test_a_pin_that_is_taken_away_lets_the_model_leave(house: House) -> None:
    house.reload(a="modality: t2v, pin: true", b="modality: t2v")
    worker = Worker(house.process(resident_models=1), "cpu")
    house.queue("a")
    worker.run_one()
    house.reload(a="modality: t2v", b="modality: t2v")
    house.take_up(worker)
    house.queue("b")
    worker.run_one()

    assert worker._residency.names == ("b",)


def test_what_is_new_is_taken_and_what_is_to_be_warm_is_warmed_up_once(house: House) -> None:
    worker = Worker(house.process(), "cpu")
    house.reload(a="modality: t2v", c="modality: t2v, warm_up: true")
    house.take_up(worker)
    assert (worker.models, worker._residency.names) == (("a", "c"), ("c",))
    house.reload(a="modality: t2v", c="modality: t2v, warm_up: true, limits: {steps: 9}")
    house.take_up(worker)

    assert [done[:2] for done in house.backend.done] == [("load", "c"), ("run", "c")]


def test_a_busy_engine_says_what_it_will_take(house: House) -> None:
    worker = Worker(house.process(), "cpu")
    house.reload(a="modality: t2v", c="modality: t2v")
    time.sleep(0.3)

    assert worker._state().models == ("a", "c")
    assert worker.models == ("a", "b")  # until it has finished what it is at


def test_an_engine_that_starts_keeps_the_jobs_of_a_removed_model(house: House) -> None:
    job = house.queue("b")
    house.reload(a="modality: t2v")
    worker = Worker(house.process(), "cpu")
    stranded = worker._system.jobs.strand([model.name for model in worker._served.models])
    worker.run_one()

    assert stranded == ()
    assert house.job(job).status is Status.COMPLETED


def test_jobs_without_a_revision_of_a_removed_model_are_failed_at_the_start(house: House) -> None:
    known = house.job(house.queue("b"))
    old = house.system.jobs.add(replace(known, id="0" * 32, revision=None))
    house.system.jobs.delete(known.id, "local")
    house.reload(a="modality: t2v")
    worker = Worker(house.process(), "cpu")
    worker.keeper.stop()
    worker.run()

    failure = house.job(old.id).failure
    assert failure is not None
    assert (failure.code, failure.message) == ("load_failed", "the model of this job is not served any more")


def test_a_job_whose_model_is_gone_with_its_revision_fails_alone(house: House) -> None:
    known = house.job(house.queue("b"))
    old = house.system.jobs.add(replace(known, id="0" * 32, revision=None))
    house.reload(a="modality: t2v")
    worker = Worker(house.process(), "cpu")
    worker.run_one()
    worker.run_one()

    assert [house.job(job.id).status for job in (known, old)] == [Status.COMPLETED, Status.FAILED]


def test_a_model_that_this_python_cannot_run_any_more_is_left_to_others(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    class Needy:
        @hookimpl
        def declare_backend(self) -> Backend:
            return Backend("needy", frozenset(Modality), requires=("nowhere_to_be_found",))

    system = assemble(house.settings, plugins=[encoder, house.backend, Needy()])
    worker = Worker(system, "cpu")
    house.queue("b")
    house.settings.models.write_text(_file(a="modality: t2v").replace("remembers", "needy"))
    system.registries.reload()
    house.take_up(worker)

    assert worker.models == ("b",)  # whose job is not finished
    assert "the backend needy needs nowhere_to_be_found; its models are not run here" in caplog.text
