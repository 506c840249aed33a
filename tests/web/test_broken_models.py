"""A broken folder of weights takes only its own model out of service."""

import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SMALL
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bench.tools.layout import T2V, write_model
from router.catalog.publication import GRAIN_SECONDS
from router.engine import encoder
from router.engine.worker import Worker
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

MODELS = f"""
default: both
models:
  bad: {{backend: diffusers, source: ./bad, aliases: [worse]}}
  good: {{backend: still, modality: t2v, {SMALL}}}
routes:
  both: [bad, good]
  alone: [bad]
"""
WHOLE = "diffusion_pytorch_model.safetensors"
REASON = f"{WHOLE} of transformer is a Git LFS pointer, not the file itself: 'git lfs pull' in its repository brings it"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    folder = write_model(tmp_path / "bad")
    (folder / "transformer" / WHOLE).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    settings.models.write_text(MODELS)
    return settings


def test_it_says_why_in_the_list_and_when_it_is_asked_for(client: FlaskClient, tmp_path: Path) -> None:
    answer = client.get("/v1/models")
    models = {entry["id"]: entry for entry in answer.get_json()["data"]}

    assert models["bad"]["weights"] == f"broken: {REASON}"
    assert (models["bad"]["modality"], models["bad"]["source"], models["bad"]["state"]) == (None, "bad", "cold")
    assert models["good"]["weights"] == "none"
    assert client.get("/v1/models/worse").get_json()["weights"] == f"broken: {REASON}"
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize("name", ["bad", "worse", "alone"])
@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/responses", {"input": "a cat"}), ("/v1/videos", {"prompt": "a cat"})],
    ids=["resp", "video"],
)
def test_a_request_for_it_is_refused_with_the_reason(
    client: FlaskClient, tmp_path: Path, name: str, path: str, body: dict[str, str]
) -> None:
    answer = client.post(path, json={"model": name, **body})

    assert answer.status_code == 503
    assert answer.get_json()["error"]["code"] == "model_unavailable"
    assert answer.get_json()["error"]["message"] == f"bad cannot be served: {REASON}"
    assert str(tmp_path) not in answer.text


def test_a_route_goes_on_with_its_other_members(client: FlaskClient, worker: Worker) -> None:
    made = client.post("/v1/responses", json={"input": "a cat"})

    assert (made.status_code, made.get_json()["model"]) == (200, "good")


def test_what_only_the_broken_member_could_take_is_no_mismatch(client: FlaskClient) -> None:
    image = [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "x"}]}
    ]
    refused = client.post("/v1/responses", json={"input": image, "model": "both"})

    assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "model_unavailable")


def test_once_mended_it_is_served_after_a_reload(settings: Settings, tmp_path: Path) -> None:
    system = assemble(settings, plugins=[encoder])
    assert [model.name for model in system.registries.poll().broken] == ["bad"]
    shutil.rmtree(tmp_path / "bad")
    write_model(tmp_path / "bad", T2V)
    said = system.registries.reload()

    assert any("bad (no longer broken)" in line for line in said)
    system.registries._polled = 0.0  # the quarter of a second between two polls has passed
    assert [model.name for model in system.registries.poll().models] == ["bad", "good"]


def test_a_link_that_is_switched_to_another_folder_is_seen_by_a_reload(settings: Settings, tmp_path: Path) -> None:
    write_model(tmp_path / "whole", T2V)
    (tmp_path / "bad").rename(tmp_path / "old")
    (tmp_path / "bad").symlink_to("old")
    time.sleep(GRAIN_SECONDS + 0.2)  # what is as young as that is taken for changed in any case
    system = assemble(settings, plugins=[encoder])
    (tmp_path / "bad").unlink()
    (tmp_path / "bad").symlink_to("whole")

    assert any("bad (no longer broken)" in line for line in system.registries.reload())


@pytest.mark.slow
def test_one_that_changed_since_it_was_read_fails_its_jobs(settings: Settings, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "bad")
    write_model(tmp_path / "bad", T2V)
    system = assemble(settings, plugins=[encoder])
    client = create_app(system).test_client()
    (tmp_path / "bad" / "vae" / WHOLE).write_bytes(b"GGUF" + os.urandom(50))
    made = client.post("/v1/responses", json={"model": "bad", "input": "a cat", "background": True})
    assert made.status_code == 200
    worker = Worker(system, "cpu")
    assert worker.run_one()

    assert ended(client, made) == ("load_failed", f"{WHOLE} of vae is a GGUF file")


def test_jobs_that_wait_for_it_end_with_the_reason(settings: Settings, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.rmtree(bad)
    write_model(bad, T2V)
    system = assemble(settings, plugins=[encoder])
    client = create_app(system).test_client()
    made = client.post("/v1/responses", json={"model": "bad", "input": "a cat", "background": True})
    (bad / "transformer" / WHOLE).write_bytes(b"<html>")
    system = assemble(settings, plugins=[encoder])
    Worker(system, "cpu").run_one()

    assert ended(client, made) == ("load_failed", f"{WHOLE} of transformer is a web page")


def ended(client: FlaskClient, made: TestResponse) -> tuple[str, str]:
    """Return the error code and the start of the message of a failed response."""
    error = client.get(f"/v1/responses/{made.get_json()['id']}").get_json()["error"]
    return error["code"], re.split("[(,]", error["message"])[0].strip()


def test_an_engine_starts_where_everything_is_broken(settings: Settings) -> None:
    settings.models.write_text("models: {bad: {backend: diffusers, source: ./bad}}")
    system = assemble(settings, plugins=[encoder])

    assert Worker(system, "cpu").models == ()


def test_48_folders_are_looked_at_when_a_process_starts(settings: Settings, tmp_path: Path) -> None:
    lines = []
    for number in range(48):
        write_model(tmp_path / f"m{number}", replace(T2V, layers=30, shards=3))
        lines.append(f"  m{number}: {{backend: diffusers, source: ./m{number}}}\n")
    settings.models.write_text("models:\n" + "".join(lines))

    assert len(assemble(settings, plugins=[encoder]).registries.poll().models) == 48


@pytest.fixture
def system(settings: Settings) -> System:
    return assemble(settings, plugins=[encoder])
