"""Models too large for memory, recognised by the headers of their weights."""

import json
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SMALL
from flask.testing import FlaskClient

from bench.tools.layout import TRUE_SIZE, write_model
from router.doctor.models import sizes
from router.engine.memory_fit import MemoryFit
from router.engine.worker import Worker
from router.runtime.byte_size import ByteSize
from router.settings import Settings
from router.system import System
from router.values import EngineState, Status

MODELS = f"""
default: good
models:
  large: {{backend: diffusers, source: ./large}}
  good: {{backend: still, modality: t2v, {SMALL}}}
"""
REASON = "needs 56.3 GB of weights on the device, its budget for weights is 8 GB"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Return settings with sparse weights of 113 GB and a budget of 8 GB."""
    write_model(tmp_path / "large", TRUE_SIZE)
    settings.models.write_text(MODELS)
    return replace(settings, memory_budget=ByteSize.parse("10GB"), activation_reserve=ByteSize.parse("20%"))


@pytest.fixture
def engine(system: System) -> Worker:
    engine = Worker(system, "cpu")
    engine.keeper._keep()  # says what it knows
    return engine


def test_it_is_refused_at_once_with_both_numbers_and_others_are_served(
    client: FlaskClient, engine: Worker, system: System
) -> None:
    start = time.perf_counter()
    refused = client.post("/v1/responses", json={"model": "large", "input": "a", "background": True})

    assert refused.status_code == 503
    assert refused.get_json()["error"]["code"] == "model_unavailable"
    assert refused.get_json()["error"]["message"] == f"large can never be loaded: on cpu it {REASON}"
    assert system.jobs.newest() == 0
    assert time.perf_counter() - start < 60
    accepted = client.post("/v1/responses", json={"input": "a", "background": True})
    assert accepted.status_code == 200
    assert engine.run_one()


def test_the_engine_says_so_when_it_starts(system: System, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Worker(system, "cpu")

    assert f"large can never be loaded on cpu: it {REASON}; raise FRAMEGATE_MEMORY_BUDGET" in caplog.text
    assert "good" not in caplog.text


def test_a_job_that_was_accepted_before_ends_with_the_reason(client: FlaskClient, system: System) -> None:
    """Before any engine reports; no file is read, as digests would take minutes."""
    job = client.post("/v1/responses", json={"model": "large", "input": "a", "background": True}).get_json()["id"]

    Worker(system, "cpu").run_one()

    done = system.jobs.get(job.removeprefix("resp_"), "local")
    assert done is not None
    assert done.failure is not None
    assert (done.status, done.failure.code) == (Status.FAILED, "load_failed")
    assert f"large {REASON}: raise FRAMEGATE_MEMORY_BUDGET" in done.failure.message


def test_an_engine_with_more_memory_gets_the_jobs(client: FlaskClient, system: System) -> None:
    system.engines.heartbeat(EngineState("other", "cuda:0", 1, ("large", "good"), ()))
    engine = Worker(system, "cpu")
    engine.keeper._keep()

    accepted = client.post("/v1/responses", json={"model": "large", "input": "a", "background": True})

    assert accepted.status_code == 200, accepted.get_json()
    assert engine.models == ("good",)
    assert not engine.run_one()


def test_the_table_and_the_doctor_say_so(system: System, engine: Worker, settings: Settings) -> None:
    from click.testing import CliRunner

    from router.cli.main import cli

    arguments = ["models", "--models", str(settings.models), "--data", str(settings.data)]
    shown = CliRunner().invoke(cli, arguments).output
    fitting = MemoryFit(settings, system.plugins, system.weights, "cpu")
    (found,) = sizes(system.registries.poll().models, [fitting])

    assert f"too large for cpu: it {REASON}" in shown
    assert found.message == f"large can never be loaded: on cpu it {REASON}"


def test_a_change_of_its_entry_with_which_it_fits_is_the_advice(system: System, settings: Settings) -> None:
    larger = replace(settings, memory_budget=ByteSize.parse("40GB"))
    fitting = MemoryFit(larger, system.plugins, system.weights, "cpu")
    (model,) = (each for each in system.registries.poll().models if each.name == "large")

    need = fitting.need(model)
    (found,) = sizes((model,), [fitting])

    assert need is not None
    assert need.advice == "with options: {dtype: bf16} it needs 28.2 GB, which fit"
    assert found.advice.startswith(f"{need.advice}; or raise FRAMEGATE_MEMORY_BUDGET")


def test_what_cannot_be_planned_may_fit(system: System, tmp_path: Path, settings: Settings) -> None:
    fitting = MemoryFit(settings, system.plugins, system.weights, "cpu")
    (large,) = (model for model in system.registries.poll().models if model.name == "large")

    assert fitting.need(large) is not None
    assert fitting.need(replace(large, options={**large.options, "group_offload": True})) is None
    config = tmp_path / "large" / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_layers": 3}))
    assert fitting.need(large) is None  # it is broken, which is another matter


def test_experts_that_may_be_one_part_count_once(settings: Settings, system: System, tmp_path: Path) -> None:
    """Sparse files are equal; with one different byte both count."""
    (large,) = (model for model in system.registries.poll().models if model.name == "large")
    plans = system.plugins.hook_for("plan_model", large)
    model = replace(large, folder=tmp_path / "large")
    one = plans(model=model, device="cpu").device_bytes
    shards = sorted((tmp_path / "large" / "transformer_2").glob("*.safetensors"))
    with shards[0].open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")

    two = plans(model=model, device="cpu").device_bytes

    assert two - one == pytest.approx(57e9, rel=0.02)
    assert plans(model=model, device="cuda:0").device_bytes == pytest.approx(two / 2, rel=0.02)  # bf16 there
