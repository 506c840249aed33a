"""An engine that drains claims nothing: in the store, in the forecast, between workers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread

import pytest
from support.engine_backends import job_of
from support.patience import until

from registry import Input
from router.engine.worker import Worker
from router.jobs import ClaimRequest, Database, EngineStore, JobStore
from router.system import System
from router.values import EngineState, Job, Status, Task
from router.web import create_app

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
ANY = ClaimRequest(["a"])


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, lease_seconds=30, max_attempts=2, max_queued=1000)


@pytest.fixture
def engines(database: Database) -> EngineStore:
    return EngineStore(database, lease_seconds=30)


def add(store: JobStore) -> str:
    now = time.time()
    return store.add(Job(f"{now:.6f}", "me", "a", TASK, created_at=now, estimate=10.0)).id


def state(name: str, *resident: str) -> EngineState:
    return EngineState(name, "cpu", 1, ("a",), resident)


def remaining(store: JobStore, job: str) -> float | None:
    found = store.get(job, "me")
    assert found is not None
    return found.remaining


def test_an_engine_that_drains_claims_no_job_not_even_a_certain_one(store: JobStore, engines: EngineStore) -> None:
    job = add(store)
    engines.heartbeat(state("e"))
    drained = engines.drain("e", True)

    assert drained is not None
    assert drained.draining
    assert store.claim("e", ANY) is store.claim("e", ANY, only=job) is None
    resumed = engines.drain("e", False)
    assert resumed is not None
    assert not resumed.draining
    assert store.claim("e", ANY) is not None


def test_a_heartbeat_keeps_the_flag_and_an_engine_that_starts_anew_has_none(engines: EngineStore) -> None:
    engines.heartbeat(state("old"))
    engines.drain("old", True)
    engines.heartbeat(state("old", "a"))
    engines.heartbeat(state("new"))

    assert {engine.id: (engine.draining, engine.resident) for engine in engines.alive()} == {
        "old": (True, ("a",)),
        "new": (False, ()),
    }


def test_an_engine_that_drains_keeps_its_running_job(store: JobStore, engines: EngineStore) -> None:
    add(store)
    engines.heartbeat(state("e"))
    claim = store.claim("e", ANY)
    engines.drain("e", True)

    assert claim is not None
    assert store.renew(claim[0])


def test_an_unknown_engine_does_not_drain(engines: EngineStore) -> None:
    assert engines.drain("e", True) is None


def test_a_model_that_a_draining_engine_has_loaded_may_be_loaded_elsewhere(
    store: JobStore, engines: EngineStore
) -> None:
    add(store)
    engines.heartbeat(state("e1", "a"))
    engines.heartbeat(state("e2"))
    one = replace(ANY, most={"a": 1})
    assert store.claim("e2", one) is None
    engines.drain("e1", True)

    assert store.claim("e2", one) is not None


def test_the_forecast_leaves_out_engines_that_drain(store: JobStore, engines: EngineStore) -> None:
    jobs = [add(store), add(store)]
    for name in ("e1", "e2"):
        engines.heartbeat(state(name, "a"))
    assert [remaining(store, job) for job in jobs] == [10.0, 10.0]
    engines.drain("e1", True)
    assert [remaining(store, job) for job in jobs] == [10.0, 20.0]
    engines.drain("e2", True)

    assert [remaining(store, job) for job in jobs] == [None, None]


@contextmanager
def running(system: System, device: str) -> Iterator[Worker]:
    worker = Worker(system, device)
    thread = Thread(target=worker.run, daemon=True)
    thread.start()
    until(lambda: any(engine.id == worker.id for engine in system.engines.alive()))
    yield worker
    worker.keeper.stop()
    thread.join(30)


def test_of_two_workers_the_drained_one_ends_its_job_and_the_other_runs_the_rest(system: System) -> None:
    client = create_app(system).test_client()

    def queue() -> str:
        body = {"model": "slow", "input": "a", "background": True, "provider_options": {"video": {"steps": 20}}}
        return str(client.post("/v1/responses", json=body).get_json()["id"].removeprefix("resp_"))

    with running(system, "cpu") as drained:
        first = queue()
        until(lambda: job_of(system, first).status is Status.IN_PROGRESS)
        system.engines.drain(drained.id, True)
        rest = [queue(), queue()]
        until(lambda: job_of(system, first).status.finished)
        time.sleep(0.3)
        assert [job_of(system, job).status for job in rest] == [Status.QUEUED, Status.QUEUED]
        with running(system, "cuda:7") as other:
            until(lambda: all(job_of(system, job).status.finished for job in rest))
            draining = {engine.id: engine.draining for engine in system.engines.alive()}

    assert [job_of(system, job).status for job in (first, *rest)] == [Status.COMPLETED] * 3
    assert draining == {drained.id: True, other.id: False}


def test_a_drained_worker_claims_again_once_it_is_resumed(system: System) -> None:
    client = create_app(system).test_client()
    with running(system, "cpu") as worker:
        system.engines.drain(worker.id, True)
        answer = client.post("/v1/responses", json={"model": "text", "input": "a", "background": True})
        job = answer.get_json()["id"].removeprefix("resp_")
        time.sleep(0.3)
        assert job_of(system, job).status is Status.QUEUED
        system.engines.drain(worker.id, False)
        until(lambda: job_of(system, job).status.finished)

    assert job_of(system, job).status is Status.COMPLETED
