"""Images of requests: refused by the cheapest check, read once, stored as PNG."""

import hashlib
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import pytest
from conftest import data_url, leftovers, png, stored, with_image
from flask.testing import FlaskClient
from PIL import Image
from support.patience import until
from support.pictures import BOMBS, bombs, encoded, scene
from support.website import Website, status

from router.engine.worker import Worker
from router.media.pixels import decode, fit
from router.settings import Settings
from router.system import System

BROKEN = data_url(png()[:60])
INCLUDED = "?include=message.input_image.image_url"


@pytest.fixture
def settings(settings: Settings, site: Website) -> Settings:
    return replace(settings, image_hosts=(f"127.0.0.1:{site.port}",))


def ask(client: FlaskClient, url: str, key: str | None = None, model: str = "image", **more: Any) -> Any:
    body = {"model": model, "input": with_image("a", url), "background": True, **more}
    return client.post("/v1/responses", json=body, headers={"Idempotency-Key": key} if key else {})


def code(answer: Any) -> str:
    return str(answer.get_json()["error"]["code"])


def test_the_stored_image_is_a_png_of_no_more_pixels_than_the_model_takes(client: FlaskClient, system: System) -> None:
    data = encoded(scene(1000, 500), "JPEG", quality=95)
    job = stored(system, ask(client, data_url(data, "image/jpeg")))
    (image,) = job.inputs
    kept = system.artifacts.read_input(job.id, image.name)

    assert (image.media_type, image.sha256, image.size) == ("image/jpeg", hashlib.sha256(data).hexdigest(), len(data))
    assert (image.png_sha256, image.png_size) == (hashlib.sha256(kept).hexdigest(), len(kept))
    assert (image.width, image.height) == (1000, 500)
    assert np.array_equal(decode(kept), fit(decode(data), job.task.width, job.task.height))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_or_becomes_a_small_png(client: FlaskClient, system: System, name: str) -> None:
    answer = ask(client, data_url(bombs()[name].data))

    if answer.status_code != 200:
        assert (answer.status_code, code(answer)) == (400, "invalid_image")
        assert leftovers(system) == []
    else:
        (kept,) = leftovers(system)
        assert kept.stat().st_size < 200_000
        assert "forged" not in kept.read_bytes().decode("latin-1")


def test_a_remix_has_the_stored_image_and_is_warned_as_its_source_was(
    client: FlaskClient, system: System, worker: Worker
) -> None:
    block = Image.Exif()
    block[0x0112] = 6
    source = ask(client, data_url(encoded(scene(900, 400), "JPEG", exif=block.tobytes()), "image/jpeg"))
    video = f"video_{source.get_json()['id'].partition('_')[2]}"
    remix = client.post(f"/v1/videos/{video}/remix", json={"prompt": "b"})
    jobs = [stored(system, source), stored(system, remix)]

    assert jobs[0].inputs == jobs[1].inputs
    files = {system.artifacts.read_input(job.id, "0") for job in jobs}
    assert len(files) == 1
    assert (
        jobs[0].warnings == jobs[1].warnings == ("image 400x900 was cropped to 32x96: 25 % of it is not in the video",)
    )
    sized = {"video": {"width": 64, "height": 64}}
    square = ask(client, data_url(encoded(scene(900, 400), "PNG")), provider_options=sized)
    again = client.post(f"/v1/videos/video_{square.get_json()['id'].partition('_')[2]}/remix", json={"prompt": "b"})
    (first,), (second,) = (stored(system, answer).warnings for answer in (square, again))
    assert first == second == "image 900x400 was cropped to 64x64: 56 % of it is not in the video"


def as_before(settings: Settings, system: System, job: str, data: bytes) -> None:
    """Store a job's image as older versions did: the received bytes."""
    with sqlite3.connect(settings.data / "jobs.sqlite") as db:
        (inputs,) = db.execute("SELECT inputs FROM jobs WHERE id = ?", (job,)).fetchone()
        old = [
            {name: one[name] for name in ("name", "role", "media_type", "sha256", "size")} for one in json.loads(inputs)
        ]
        db.execute("UPDATE jobs SET inputs = ? WHERE id = ?", (json.dumps(old), job))
    db.close()
    system.artifacts.put_input(job, "0", data)


def test_a_job_of_an_older_version_runs_and_is_remixed(
    client: FlaskClient, system: System, settings: Settings, request: pytest.FixtureRequest
) -> None:
    data = encoded(scene(300, 200), "JPEG", quality=95)
    url, options = data_url(data, "image/jpeg"), {"seed": 5, "provider_options": {"image": {"steps": 1}}}
    old, new = (stored(system, ask(client, url, **options)) for _ in range(2))
    as_before(settings, system, old.id, data)
    shown = client.get(f"/v1/responses/resp_{old.id}/input_items{INCLUDED}").get_json()["data"][0]["content"][0]
    assert shown["image_url"] == url

    remix = stored(system, client.post(f"/v1/videos/video_{old.id}/remix", json={"prompt": "a"}))
    assert remix.inputs == new.inputs
    request.getfixturevalue("worker")

    def content(job: str) -> bytes | None:
        answer = client.get(f"/v1/videos/video_{job}/content")
        return answer.data if answer.status_code == 200 else None

    assert until(lambda: content(old.id)) == until(lambda: content(new.id)) == until(lambda: content(remix.id))


@pytest.mark.parametrize("key", [None, "a key"])
@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"model": "text"}, "modality_mismatch"),
        ({"model": "nothing"}, "model_not_found"),
        ({"provider_options": {"video": {"steps": 1000}}}, "limit_exceeded"),
        ({"model": "far"}, "modality_mismatch"),
        ({}, "invalid_image"),
    ],
    ids=str,
)
def test_what_is_cheaper_than_an_image_refuses_first(
    client: FlaskClient, key: str | None, more: dict[str, Any], found: str
) -> None:
    for url in (BROKEN, "data:image/png;base64,%%%", "http://127.0.0.1:1/a.png"):
        allowed = {found} if found != "invalid_image" else {found, "image_url_refused"}
        assert code(ask(client, url, key, **more)) in allowed


def test_a_used_key_changes_no_error_of_an_unreadable_image(client: FlaskClient) -> None:
    unreadable = "data:image/png;base64,%%%"
    assert ask(client, data_url(png()), "a key").status_code == 200

    for key in ("a key", None):
        assert code(ask(client, unreadable, key, model="text")) == "modality_mismatch"
        assert code(ask(client, unreadable, key, provider_options={"video": {"steps": 99}})) == "limit_exceeded"
        assert code(ask(client, unreadable, key)) == "invalid_image"


def test_another_image_under_a_used_key_is_another_request(client: FlaskClient) -> None:
    assert ask(client, data_url(png()), "a key").status_code == 200

    assert code(ask(client, BROKEN, "a key")) == "idempotency_key_reuse"
    assert code(ask(client, data_url(png()), "a key", model="text")) == "idempotency_key_reuse"


def test_an_image_under_a_key_is_fetched_once(client: FlaskClient, site: Website) -> None:
    site.answers["/cat.png"] = status(200, body=png())
    ids = {ask(client, site.url("/cat.png"), "a key").get_json()["id"] for _ in range(3)}

    assert len(ids) == 1
    assert len(site.heads) == 1


def test_silent_sites_of_one_address_leave_slots_to_another(client: FlaskClient, site: Website) -> None:
    go = Event()
    site.answers["/silent"] = lambda peer: (go.wait(20), peer.close())
    site.answers["/cat.png"] = status(200, body=png())

    def silent(_: int) -> Any:
        other = client.application.test_client()
        other.environ_base["REMOTE_ADDR"] = "127.0.0.2"
        return ask(other, site.url("/silent"))

    with ThreadPoolExecutor(12) as pool:
        silent_ones = [pool.submit(silent, number) for number in range(12)]
        until(lambda: len(site.heads) == 4)
        answer = ask(client, site.url("/cat.png"))
        go.set()

    assert answer.status_code == 200
    assert {one.result().status_code for one in silent_ones} == {400}


def test_what_is_shown_of_an_image_is_what_was_sent_and_its_url_what_is_kept(client: FlaskClient) -> None:
    data = encoded(scene(64, 64), "WEBP", exif=b"Exif\0\0secret")
    job = ask(client, data_url(data, "image/webp")).get_json()["id"]
    image = client.get(f"/v1/responses/{job}/input_items{INCLUDED}").get_json()["data"][0]["content"][0]

    assert (image["media_type"], image["bytes"]) == ("image/webp", len(data))
    assert image["image_url"].startswith("data:image/png;base64,")
