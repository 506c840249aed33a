"""`GET /v1/models`: the expected seconds of each model, by kind of device."""

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from registry import Input, ModelSpec
from router.engine.worker import Worker
from router.intake.expectation import default_task
from router.system import System
from router.values import Estimate, EstimateBasis, Origin, Task, WorkSeconds
from router.web import create_app

SECONDS = WorkSeconds(text=1.0, steps=4.0, decode=2.0, encode=0.5)


def model_of(system: System, name: str = "text") -> ModelSpec:
    model = system.registries.model(name, None)
    assert model is not None
    return model


def task_of(model: ModelSpec) -> Task:
    task = default_task(model)
    assert task is not None
    return task


def expected(client: FlaskClient, name: str = "text") -> list[dict[str, Any]]:
    (listed,) = [each for each in client.get("/v1/models").get_json()["data"] if each["id"] == name]
    assert client.get(f"/v1/models/{name}").get_json()["expected"] == listed["expected"]
    return list(listed["expected"])


def ask(client: FlaskClient, model: str = "text", **video: Any) -> dict[str, Any]:
    body = {"model": model, "input": "a", "background": True, "provider_options": {"video": video}}
    return dict(client.post("/v1/responses", json=body).get_json())


def test_nothing_is_listed_before_anything_was_measured(client: FlaskClient) -> None:
    assert expected(client) == []


def test_a_model_lists_its_default_request_and_its_loads_for_each_kind_of_device(
    client: FlaskClient, system: System
) -> None:
    model = model_of(system)
    system.timings.learn("NVIDIA H200", model, task_of(model), SECONDS)
    system.timings.learn("cpu", model, replace(task_of(model), width=128), SECONDS)
    system.timings.learn_load("NVIDIA H200", model, Origin.COLD, 20.0003)
    system.timings.learn_load("NVIDIA H200", model, Origin.WARM, 2.0)
    gpu, cpu = expected(client)

    assert gpu == {"kind": "NVIDIA H200", "seconds": 7.5, "basis": "measured", "load_cold": 20.0, "load_warm": 2.0}
    assert (cpu["kind"], cpu["basis"], cpu["load_cold"], cpu["load_warm"]) == ("cpu", "fitted", None, None)
    assert 0 < cpu["seconds"] < 7.5
    assert expected(client, "both") == []


def test_a_model_that_was_loaded_and_ran_no_job_lists_its_load(client: FlaskClient, system: System) -> None:
    system.timings.learn_load("cpu", model_of(system), Origin.COLD, 20.0)

    assert expected(client) == [{"kind": "cpu", "seconds": None, "basis": None, "load_cold": 20.0, "load_warm": 20.0}]


def test_a_request_is_expected_to_take_what_it_takes_on_the_engines_that_offer_its_model(system: System) -> None:
    model = model_of(system)
    worker = Worker(system, "cpu")
    system.engines.heartbeat(replace(worker._state(), id="a", kind="fast", models=("text",)))
    system.engines.heartbeat(replace(worker._state(), id="b", kind="slow", models=("both",)))
    double = WorkSeconds(*(2 * each for each in vars(SECONDS).values()))
    for kind, seconds in (("fast", SECONDS), ("slow", double), ("gone", double)):
        system.timings.learn(kind, model, task_of(model), seconds)
    job = ask(create_app(system).test_client())["id"].removeprefix("resp_")
    stored = system.jobs.get(job, "local")

    assert stored is not None
    assert stored.estimate == SECONDS.total


def test_a_first_request_is_expected_by_those_of_another_size_or_model(client: FlaskClient, system: System) -> None:
    model = model_of(system)
    system.timings.learn("cpu", model, task_of(model), SECONDS)
    larger, other = (
        system.jobs.get(job["id"].removeprefix("resp_"), "local")
        for job in (ask(client, width=128, height=128), ask(client, "both"))
    )

    assert larger is not None
    assert larger.estimate is not None
    assert larger.estimate > SECONDS.total
    assert other is not None
    assert other.estimate == pytest.approx(SECONDS.total, rel=0.2)  # its tokens are of other sizes


def test_the_default_task_is_that_of_a_request_without_options(client: FlaskClient, system: System) -> None:
    job = system.jobs.get(ask(client)["id"].removeprefix("resp_"), "local")
    assert job is not None

    assert replace(job.task, seed=0, prompt="") == task_of(model_of(system))
    assert task_of(model_of(system, "image")).input_kinds == {Input.TEXT, Input.IMAGE}


def test_the_seconds_of_a_job_become_those_of_its_model(client: FlaskClient, system: System) -> None:
    ask(client, "slow")
    Worker(system, "cpu").run_one()
    (found,) = expected(client, "slow")
    model = model_of(system, "slow")
    known = system.timings.estimate(model, task_of(model))

    assert isinstance(known, Estimate)
    assert known.basis is EstimateBasis.MEASURED
    assert found["seconds"] == round(known.seconds.total, 3) >= 4 * 0.05
    assert found["load_cold"] is not None
