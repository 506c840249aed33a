"""Loaded models: the least recently used one leaves, a pinned one stays."""

from collections.abc import Callable

from support.engine_backends import Loads, job_of, queue

from router import OutOfMemory
from router.engine import encoder
from router.engine.worker import Worker
from router.system import System, assemble
from router.values import Status
from router.web import create_app


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
