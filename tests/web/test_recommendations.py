"""A refusal recommends models that can run now, and names those to fetch first."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from router import Backend, Modality, hookimpl
from router.engine import encoder
from router.engine.worker import Worker
from router.settings import Settings
from router.system import System, assemble
from router.values import EngineState, Need
from router.web import create_app

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, steps: 2}"
MODELS = f"""
models:
  image: {{backend: still, modality: i2v, {SMALL}}}
  here: {{backend: still, modality: t2v, {SMALL}}}
  lacks: {{backend: lacking, modality: t2v, {SMALL}}}
  folder: {{backend: still, modality: t2v, source: ./nowhere, {SMALL}}}
  hub: {{backend: still, modality: t2v, source: Some-Org/far-away, {SMALL}}}
  fetches: {{backend: still, modality: t2v, source: Some-Org/fetched, download: true, {SMALL}}}
routes:
  pictures: [image]
"""


class Lacking:
    """A backend whose package is not installed."""

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("lacking", frozenset({Modality.T2V}), requires=("nowhere_to_be_found",))


@pytest.fixture
def system(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> System:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    settings.models.write_text(MODELS)
    slow = {"lease_seconds": 600.0, "renew_seconds": 300.0}  # a machine may stand still for a while
    return assemble(replace(settings, engine_missing_seconds=60.0, **slow), plugins=[encoder, Lacking()])


def advice(client: FlaskClient, model: str = "image") -> str:
    answer = client.post("/v1/responses", json={"model": model, "input": "a"})
    assert answer.status_code == 400
    return str(answer.get_json()["error"]["message"]).partition(". ")[2]


def beat(system: System, **state: object) -> None:
    system.engines.heartbeat(replace(Worker(system, "cpu")._state(), **state))


FETCHED = "; once fetched, hub and fetches would"


@pytest.mark.parametrize("model", ["image", "pictures"])
def test_a_model_without_weights_or_package_is_not_recommended(system: System, model: str) -> None:
    beat(system)

    assert advice(create_app(system).test_client(), model) == f"Of the models served here, here would take it{FETCHED}"


def test_a_model_too_large_for_every_engine_is_not_recommended(system: System) -> None:
    beat(system, too_large={"here": Need(2, 1)})
    expected = "None of the models served here that can run now would take it; once fetched, hub and fetches would"

    assert advice(create_app(system).test_client()) == expected


def test_before_the_first_engine_a_model_with_weights_is_recommended(system: System) -> None:
    message = advice(create_app(system).test_client())

    assert message == f"Of the models served here, here and lacks would take it{FETCHED}"


def test_not_every_refusal_looks_at_the_store(system: System) -> None:
    client = create_app(system).test_client()
    advice(client)
    statements: list[str] = []
    event.listen(system.engines._db._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for _ in range(20):
        advice(client)

    assert len([each for each in statements if "FROM engines" in each]) < 10  # one, on a fast machine


def test_a_model_for_another_device_is_not_recommended(system: System, settings: Settings) -> None:
    settings.models.write_text(MODELS.replace("  here: {", "  here: {devices: ['cuda:9'], "))
    system = assemble(settings, plugins=[encoder, Lacking()])
    client = create_app(system).test_client()
    time.sleep(2 * settings.renew_seconds)  # for so long engines may not have read the models file
    beat(system, models=("image",))

    assert advice(client) == "None of the models served here that can run now would take it"


def test_what_changes_is_seen_with_the_next_registry(system: System, settings: Settings) -> None:
    client = create_app(system).test_client()
    advice(client)
    settings.models.write_text(MODELS.replace("  here:", "  renamed:"))
    system.registries.reload()
    registry = system.registries.poll()
    while registry.find("renamed") is None:
        registry = system.registries.poll()

    assert "renamed" in advice(client)


def test_an_engine_that_runs_it_elsewhere_counts(system: System) -> None:
    beat(system)
    other = EngineState("other", "cuda:0", 1, ("lacks",), ())
    system.engines.heartbeat(other)

    assert advice(create_app(system).test_client()).startswith("Of the models served here, here and lacks would take")
