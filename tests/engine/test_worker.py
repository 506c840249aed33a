"""One engine: its order of jobs, its stop, and errors of the store."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import text
from support.engine_backends import edited, job_of, queue
from support.patience import until

from router import Job, hookimpl
from router.engine import encoder
from router.engine.worker import Worker
from router.errors import BootError
from router.jobs import open_database
from router.plugins import Plugins
from router.settings import Settings
from router.system import System, assemble
from router.values import EstimateBasis, Origin, Status
from router.web import create_app


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
    database = open_database(tmp_path / "data" / "jobs.sqlite")
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
    slow = system.registries.model("slow", None)
    assert slow is not None
    system.timings.learn_load("cpu", slow, Origin.COLD, 10.0)  # longer than this test needs to queue its jobs
    worker = Worker(system, "cpu")
    queue(system, "text")
    worker.run_one()
    for model in ("slow", "slow", "slow", "text", "both"):
        queue(system, model)
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
    model = system.registries.model("slow", None)
    assert model is not None
    found = system.timings.estimate(model, again.task, ["cpu"])

    assert [engine.resident for engine in system.engines.alive()] == [("slow",)]
    assert [engine.kind for engine in system.engines.alive()] == ["cpu"]
    assert found is not None
    assert found.basis is EstimateBasis.MEASURED
    assert found.seconds.steps >= again.task.steps * 0.05
    assert again.estimate == again.remaining == found.seconds.total
