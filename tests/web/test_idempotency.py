"""`Idempotency-Key`: one job for a repeated request, concurrent or after a restart."""

import base64
import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from conftest import data_url, leftovers, png, with_image
from flask.testing import FlaskClient
from support.callers import client_of, make_key
from werkzeug.test import TestResponse

from router.engine import encoder
from router.engine.worker import Worker
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

ASK: dict[str, Any] = {"model": "text", "input": "a red ball", "background": True}
KEY = {"Idempotency-Key": "order 66"}


def ask(client: FlaskClient, body: Any = ASK, key: str = "order 66") -> TestResponse:
    return client.post("/v1/responses", json=body, headers={"Idempotency-Key": key})


def jobs(system: System) -> int:
    page = system.jobs.page("local", after=None, limit=1000, newest_first=True)
    return len(page or ())


def test_the_same_request_again_is_the_same_job(client: FlaskClient, system: System) -> None:
    first, again = ask(client), ask(client)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json["id"] == first.json["id"]
    assert again.json["provider_options"] == first.json["provider_options"]  # the drawn seed too
    assert jobs(system) == 1


def test_fields_count_and_their_spelling_does_not(client: FlaskClient, system: System) -> None:
    plain = ask(client).json["id"]
    spaced = b'{ "input": "a red ball",\n "background": true, "model": "text", "unknown": 1 }'
    headers = {"content-type": "application/json", **KEY}

    assert client.post("/v1/responses", data=spaced, headers=headers).json["id"] == plain


@pytest.mark.parametrize(
    "other",
    [
        {"input": "a blue ball"},
        {"seed": 1},
        {"metadata": {"a": "b"}},
        {"background": False},
        {"provider_options": {"video": {"steps": 3}}},
        {"model": "both"},
    ],
    ids=str,
)
def test_another_request_under_the_key_is_refused(client: FlaskClient, system: System, other: dict[str, Any]) -> None:
    ask(client)

    answer = ask(client, {**ASK, **other})

    assert answer.status_code == 422
    assert answer.json["error"]["code"] == "idempotency_key_reuse"
    assert "'order 66' was used for another request" in answer.json["error"]["message"]
    assert answer.json["error"]["param"] == "Idempotency-Key"
    assert jobs(system) == 1


def test_another_dialect_is_another_request(client: FlaskClient) -> None:
    ask(client)
    answer = client.post("/v1/videos", json={"model": "text", "prompt": "a red ball"}, headers=KEY)
    assert answer.status_code == 422


def test_videos_have_keys_too(client: FlaskClient, system: System) -> None:
    def create(seconds: str) -> TestResponse:
        file = (io.BytesIO(png()), "cat.png")
        form = {"model": "image", "prompt": "it moves", "seconds": seconds, "input_reference": file}
        return client.post("/v1/videos", data=form, headers=KEY)

    assert create("1").json["id"] == create("1").json["id"]
    assert create("2").status_code == 422
    assert jobs(system) == 1


def test_the_name_of_a_field_does_not_count(client: FlaskClient) -> None:
    ids = [
        client.post("/v1/videos", json={"model": "text", "prompt": "a", **option}, headers=KEY).json["id"]
        for option in ({"steps": 3}, {"num_inference_steps": 3}, {"provider_options": {"video": {"steps": 3}}})
    ]
    assert len(set(ids)) == 1


def test_an_image_counts_by_its_bytes(client: FlaskClient, system: System) -> None:
    body = {"model": "image", "background": True}
    once = with_image("it moves", data_url(png()))
    spelled = with_image("it moves", "data:image/png;base64," + base64.encodebytes(png()).decode())
    other = with_image("it moves", data_url(png(48, 64)))

    first = ask(client, {**body, "input": once})

    assert ask(client, {**body, "input": spelled}).json["id"] == first.json["id"]
    assert ask(client, {**body, "input": other}).status_code == 422
    assert len(leftovers(system)) == 1


@pytest.mark.parametrize("kind", ["text", "image"])
def test_twenty_at_once_make_one_job(client: FlaskClient, system: System, kind: str) -> None:
    content = "a red ball" if kind == "text" else with_image("it moves", data_url(png()))
    body = {"model": kind, "input": content, "background": True}
    app = client.application

    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda _: ask(app.test_client(), body), range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert jobs(system) == 1
    assert len(leftovers(system)) == (kind == "image")


def test_it_holds_over_a_restart(client: FlaskClient, settings: Settings) -> None:
    first = ask(client).json["id"]
    again = create_app(assemble(settings, plugins=[encoder])).test_client()
    assert ask(again).json["id"] == first


def test_it_holds_when_the_model_is_not_served_any_more(client: FlaskClient, settings: Settings) -> None:
    first = ask(client).json["id"]
    settings.models.write_text(settings.models.read_text().replace("  text:", "  other:").replace("[text,", "[other,"))
    later = create_app(assemble(settings, plugins=[encoder])).test_client()

    assert ask(later).json["id"] == first
    assert ask(later, key="another").status_code == 404


def test_a_finished_job_is_answered_at_once(client: FlaskClient, worker: Worker) -> None:
    waited = {**ASK, "background": False}
    first, again = ask(client, waited).json, ask(client, waited).json
    assert first["status"] == again["status"] == "completed"
    assert first == again


def test_a_refused_request_leaves_its_key_free(client: FlaskClient) -> None:
    assert ask(client, {**ASK, "model": "image"}).status_code == 400
    assert ask(client).status_code == 200


def test_a_deleted_job_leaves_its_key_free(client: FlaskClient) -> None:
    first = ask(client).json["id"]
    client.delete(f"/v1/responses/{first}")
    again = ask(client, {**ASK, "input": "something else"})
    assert again.status_code == 200
    assert again.json["id"] != first


def test_a_key_is_kept_for_a_day(client: FlaskClient, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask(client).json["id"]
    now = time.time

    monkeypatch.setattr("router.jobs.store.time.time", lambda: now() + 23.9 * 3600)
    system.jobs.prune()
    assert ask(client).json["id"] == first

    monkeypatch.setattr("router.jobs.store.time.time", lambda: now() + 24.1 * 3600)
    assert ask(client).json["id"] != first
    assert jobs(system) == 2


def test_another_owner_has_keys_of_their_own(system: System) -> None:
    app = create_app(system)
    first, other = (client_of(app, make_key(system, owner, owner)) for owner in ("first", "other"))
    job = ask(first).json["id"]
    answer = ask(other, {**ASK, "input": "something else"})

    assert answer.status_code == 200
    assert answer.json["id"] != job


def test_a_full_queue_still_knows_its_keys(settings: Settings) -> None:
    client = create_app(assemble(replace(settings, max_queued=1), plugins=[encoder])).test_client()
    first = ask(client).json["id"]
    assert ask(client, key="another").status_code == 429
    assert ask(client).json["id"] == first


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "caf\u00e9", "\t"], ids=ascii)
def test_a_key_must_be_one(client: FlaskClient, system: System, key: str) -> None:
    answer = ask(client, key=key)
    assert answer.status_code == 400
    assert answer.json["error"]["param"] == "Idempotency-Key"
    assert jobs(system) == 0
