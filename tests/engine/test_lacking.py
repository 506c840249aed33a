"""A backend without its package refuses its requests at once, and ends waiting ones."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import SMALL
from flask.testing import FlaskClient
from support.patience import until
from support.server import Server, serve
from werkzeug.test import TestResponse

from router.engine.worker import Worker
from router.settings import Settings
from router.system import System
from router.values import EngineState, lacking

__all__ = ["serve"]
MODELS = f"""
models:
  good: {{backend: still, modality: t2v, {SMALL}}}
  bad: {{backend: poor, modality: t2v, {SMALL}}}
"""
PLUGIN = """
from router import Backend, Modality, hookimpl


@hookimpl
def declare_backend():
    return Backend("poor", frozenset({Modality.T2V}), requires=("sys", "nowhere.to_be_found"), extra="poor")
"""
WANT = "the backend poor needs nowhere.to_be_found: pip install 'framegate[poor]'"
REASON = f"no engine can run bad: {WANT}"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    settings.models.write_text(MODELS)
    (tmp_path / "poor.py").write_text(PLUGIN)
    return replace(settings, plugins=(tmp_path / "poor.py",), renew_seconds=0.05)


def ask(client: FlaskClient, model: str = "bad") -> TestResponse:
    return client.post("/v1/responses", json={"model": model, "input": "a", "background": True})


def beat(system: System, name: str, device: str, models: tuple[str, ...], lacks: dict[str, str]) -> None:
    system.engines.heartbeat(EngineState(name, device, 1, models, (), lacks=lacks))


def test_it_is_refused_at_once_with_what_is_missing(client: FlaskClient, worker: Worker, system: System) -> None:
    until(system.engines.alive)
    refused = ask(client)

    assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "model_unavailable")
    assert refused.get_json()["error"]["message"] == REASON
    assert ask(client, "good").status_code == 200
    assert worker.models == ("good",)


def test_who_waits_already_is_told_too(client: FlaskClient, system: System) -> None:
    waiting = ask(client)  # no engine has said anything yet
    assert waiting.status_code == 200
    worker = Worker(system, "cpu")
    worker.keeper.start()
    assert not worker.run_one()  # another engine, which is about to start, may have what this one lacks
    until(lambda: worker._servable.read().ends)
    worker.follow_registry()
    until(lambda: worker.follow_registry() or worker.run_one())
    worker.keeper.gone()
    worker.keeper.stop()
    error = client.get(f"/v1/responses/{waiting.get_json()['id']}").get_json()["error"]

    assert (error["code"], error["message"]) == ("load_failed", REASON)


def test_an_engine_elsewhere_that_can_run_it_is_waited_for(client: FlaskClient, system: System) -> None:
    beat(system, "far", "cuda:0", ("good", "bad"), {})
    waiting = ask(client)
    assert waiting.status_code == 200
    worker = Worker(system, "cpu")
    worker.keeper.start()
    time.sleep(0.2)

    assert worker._servable.read().ends == ()
    assert worker._servable.read().lacks == {"bad": WANT}
    assert ask(client).status_code == 200
    worker.keeper.gone()
    worker.keeper.stop()


def test_what_was_installed_since_counts(system: System, client: FlaskClient) -> None:
    beat(system, "old", "cpu", ("good",), {"bad": WANT})
    assert ask(client).status_code == 503
    beat(system, "new", "cpu", ("good", "bad"), {})
    assert ask(client).status_code == 200


def test_of_a_device_the_last_engine_counts() -> None:
    able = EngineState("a", "cpu", 1, ("m",), (), age=9)
    unable = EngineState("b", "cpu", 1, (), (), age=1, lacks={"m": "torch"})

    assert lacking("m", [able, unable], 300) == lacking("m", [unable, able], 300) == ("torch",)
    assert lacking("m", [replace(able, age=0), unable], 300) == ()
    assert lacking("m", [replace(able, device="cuda:0"), unable], 300) == ()
    assert lacking("m", [replace(able, device="cuda:0", age=301), unable], 300) == ("torch",)
    assert lacking("m", [replace(unable, age=301)], 300) == lacking("n", [unable], 300) == lacking("m", [], 300) == ()


def test_the_table_of_models_says_what_is_missing(
    settings: Settings, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    from router.cli.models import models

    monkeypatch.setenv("FRAMEGATE_DATA", str(settings.data))
    monkeypatch.setenv("FRAMEGATE_MODELS", str(settings.models))
    monkeypatch.setenv("FRAMEGATE_PLUGINS", str(settings.plugins[0]))
    table = CliRunner().invoke(models).output
    assert "(poor needs nowhere.to_be_found)" in table
    beat(system, "far", "cuda:0", ("good", "bad"), {})
    assert "(poor needs" not in CliRunner().invoke(models).output  # another Python runs it


@pytest.mark.slow
def test_a_server_beside_a_backend_that_lacks_a_package(tmp_path: Path, serve: Callable[..., Server]) -> None:
    (tmp_path / "poor.py").write_text(PLUGIN)
    server = serve(MODELS, workers=1, plugins=tmp_path / "poor.py", renew_seconds=0.5)
    status, answer = server.call("/v1/responses", {"model": "bad", "input": "a"})

    assert (status, answer["error"]["message"]) == (503, REASON)
    assert server.call("/v1/responses", {"model": "good", "input": "a"})[0] == 200
