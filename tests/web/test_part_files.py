"""Models with files of their own for parts: what callers see of their weights."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SMALL
from flask.testing import FlaskClient
from support.contract import Contract, closed
from support.part_files import put_apart

from bench.tools.layout import write_model
from router.settings import Settings
from router.system import System
from router.values import EngineState

MODELS = f"""
models:
  own:
    source: ./base
    backend: diffusers
    parts: {{transformer: ./files/t.safetensors, vae: {{source: me/far, file: a/v.safetensors, revision: b}}}}
    modality: t2v
  whole: {{source: ./whole, backend: diffusers, devices: ['cuda:0']}}
  still: {{backend: still, modality: t2v, {SMALL}}}
"""
ENGINE = EngineState("a", "cpu", 1, ("own", "whole", "still"), ())
TEXT = {"part": "text_encoder", "source": None, "revision": None, "formats": ["BF16"], "bytes": 3456}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    write_model(tmp_path / "whole")
    put_apart(write_model(tmp_path / "base"), "transformer", tmp_path / "files" / "t.safetensors")
    settings.models.write_text(MODELS)
    return settings


def test_each_part_has_its_format_its_bytes_and_the_name_of_its_file(client: FlaskClient, tmp_path: Path) -> None:
    answer = client.get("/v1/models")
    own, whole, still = answer.get_json()["data"]

    Contract(closed(client.get("/openapi.json").json)).hold("GET", "/v1/models", answer)
    assert own["weights"] == "incomplete"
    assert own["parts"] == [
        {**TEXT, "part": "transformer", "source": "t.safetensors", "bytes": 23520},
        TEXT,
        {"part": "vae", "source": "me/far/a/v.safetensors", "revision": "b", "formats": [], "bytes": None},
    ]
    assert [(part["part"], part["source"]) for part in whole["parts"]] == [
        ("transformer", None), ("text_encoder", None), ("vae", None),
    ]  # fmt: skip
    assert (still["parts"], still["planned"]) == ([], [])
    assert str(tmp_path) not in answer.text


def test_the_bytes_on_the_devices_of_engines_are_planned(client: FlaskClient, system: System) -> None:
    assert client.get("/v1/models/whole").get_json()["planned"] == []
    system.engines.heartbeat(ENGINE)
    system.engines.heartbeat(replace(ENGINE, id="b", device="cuda:0"))
    (on_card,) = client.get("/v1/models/whole").get_json()["planned"]

    assert on_card["device"] == "cuda:0"
    assert on_card["bytes"] > 0
    assert client.get("/v1/models/own").get_json()["planned"] == []


def test_a_request_for_a_model_without_a_file_says_how_to_get_it(client: FlaskClient, tmp_path: Path) -> None:
    refused = client.post("/v1/responses", json={"model": "own", "input": "a", "background": True})

    assert refused.status_code == 503
    assert refused.get_json()["error"]["message"] == (
        "own needs weights from base, t.safetensors and me/far, which are not whole (v.safetensors of vae is missing): "
        "fetch them with 'framegate pull own', or set 'download: true' in its entry"
    )
