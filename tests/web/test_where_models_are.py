"""`GET /v1/models`: the engines of a model, and its memory, own and shared."""

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from router.system import System
from router.values import EngineState, PartPath, ResidentBytes

MEMORY = {"text": ResidentBytes(700, 300), "both": ResidentBytes(0, 300)}
PATHS = {"text": {"high": PartPath("fast"), "low": PartPath("diffusers", "it has adapters")}}
PATHS_SHOWN = [
    {"part": "high", "path": "fast", "reason": ""},
    {"part": "low", "path": "diffusers", "reason": "it has adapters"},
]
FIRST = EngineState(
    "a", "cuda:0", 1, ("text", "both", "image"), ("text", "both"), "job", memory=MEMORY, warm=("image",), paths=PATHS
)


@pytest.fixture
def models(client: FlaskClient, system: System) -> dict[str, Any]:
    system.engines.heartbeat(FIRST)
    system.engines.heartbeat(replace(FIRST, id="b", device="cuda:1", resident=("image",), warm=(), memory={}))
    return {entry["id"]: entry for entry in client.get("/v1/models").get_json()["data"]}


def test_a_model_says_what_it_holds_alone_and_with_others_and_by_which_code_it_runs(models: dict[str, Any]) -> None:
    assert [(one["state"], one["engines"]) for one in (models["text"], models["both"])] == [
        (
            "loaded",
            [{"device": "cuda:0", "state": "loaded", "bytes_owned": 700, "bytes_shared": 300, "paths": PATHS_SHOWN}],
        ),
        ("loaded", [{"device": "cuda:0", "state": "loaded", "bytes_owned": 0, "bytes_shared": 300, "paths": []}]),
    ]


def test_a_model_on_two_engines_names_both_and_is_as_near_as_the_nearer(models: dict[str, Any]) -> None:
    nothing = {"bytes_owned": 0, "bytes_shared": 0, "paths": []}

    assert models["image"]["state"] == "loaded"
    assert sorted(models["image"]["engines"], key=lambda engine: str(engine["device"])) == [
        {"device": "cuda:0", "state": "warm", **nothing},
        {"device": "cuda:1", "state": "loaded", **nothing},
    ]


def test_a_model_on_no_engine_is_cold(client: FlaskClient) -> None:
    for entry in client.get("/v1/models").get_json()["data"]:
        if "modality" in entry:
            assert (entry["state"], entry["engines"]) == ("cold", [])
