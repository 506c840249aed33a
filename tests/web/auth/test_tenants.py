"""Tenants see, list, cancel and delete their own jobs only."""

from typing import Any

import pytest
from conftest import data_url, png, with_image
from flask import Flask
from flask.testing import FlaskClient
from support.callers import client_of, make_key
from werkzeug.test import TestResponse

from router.auth.keys import LOCAL, Scope
from router.engine.worker import Worker
from router.system import System
from router.web import create_app

NOBODY = "0" * 32
# Every route that takes a job's id: method, path, body.
ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/v1/responses/resp_{}", None),
    ("GET", "/v1/responses/resp_{}?stream=true", None),
    ("GET", "/v1/responses/resp_{}?stream=true&starting_after=3", None),
    ("GET", "/v1/responses/resp_{}/input_items", None),
    ("GET", "/v1/responses/resp_{}/input_items?include=message.input_image.image_url", None),
    ("POST", "/v1/responses/resp_{}/cancel", None),
    ("DELETE", "/v1/responses/resp_{}", None),
    ("GET", "/v1/videos/video_{}", None),
    ("DELETE", "/v1/videos/video_{}", None),
    ("POST", "/v1/videos/video_{}/remix", {"prompt": "b"}),
    ("GET", "/v1/videos/video_{}/content", None),
    ("HEAD", "/v1/videos/video_{}/content", None),
    ("GET", "/v1/videos/video_{}/content?variant=thumbnail", None),
    ("GET", "/v1/videos/video_{}/content?variant=spritesheet", None),
    ("GET", "/v1/videos/video_{}/content?variant=last_frame", None),
    ("GET", "/v1/videos/video_{}/content?variant=preview", None),
    ("GET", "/v1/images/image_{}/content", None),
    ("GET", "/v1/videos?after=video_{}", None),
)


@pytest.fixture
def app(system: System) -> Flask:
    for name, owner in (("red", "red"), ("red-2", "red"), ("blue", "blue")):
        TEXTS[name] = make_key(system, name, owner)
    TEXTS["ops"] = make_key(system, "ops", scopes=(Scope.ADMIN,))
    return create_app(system)


TEXTS: dict[str, str] = {}


def client_for(app: Flask, name: str) -> FlaskClient:
    return client_of(app, TEXTS[name])


@pytest.fixture
def red(app: Flask) -> FlaskClient:
    return client_for(app, "red")


@pytest.fixture
def blue(app: Flask) -> FlaskClient:
    return client_for(app, "blue")


@pytest.fixture
def ops(app: Flask) -> FlaskClient:
    return client_for(app, "ops")


def made(client: FlaskClient, *, wait: bool = False, **body: Any) -> str:
    """Make a job with an image and return its id."""
    request = {"model": "image", "input": with_image("a", data_url(png())), "background": not wait, **body}
    answer = client.post("/v1/responses", json=request)
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["id"]).removeprefix("resp_")


def listed(client: FlaskClient, query: str = "") -> list[str]:
    return [video["id"].removeprefix("video_") for video in client.get(f"/v1/videos{query}").get_json()["data"]]


def send(client: FlaskClient, route: tuple[str, str, Any], job: str) -> TestResponse:
    method, path, body = route
    return client.open(path.format(job), method=method, json=body)


def without_ids(answer: TestResponse, job: str) -> tuple[Any, ...]:
    """Return an answer without its job's id and the request's."""
    headers = [(name, value) for name, value in answer.headers if name not in ("x-request-id", "Date")]
    return answer.status_code, answer.text.replace(job, "ID"), headers


@pytest.mark.parametrize("state", ["queued", "completed", "deleted"])
def test_another_s_job_is_as_one_that_never_was(
    request: pytest.FixtureRequest, red: FlaskClient, blue: FlaskClient, state: str, subtests: pytest.Subtests
) -> None:
    if state == "completed":
        request.getfixturevalue("worker")
    job = made(red, wait=state == "completed")
    if state == "deleted":
        red.delete(f"/v1/responses/resp_{job}")
    for route in ROUTES:
        with subtests.test(route=route):
            answer = send(blue, route, job)

            assert answer.status_code == 404
            assert without_ids(answer, job) == without_ids(send(blue, route, NOBODY), NOBODY)
            assert red.get(f"/v1/responses/resp_{job}").status_code == (404 if state == "deleted" else 200)


def test_every_route_with_an_id_is_tried(app: Flask) -> None:
    tried = {path.partition("?")[0].partition("_{}")[0].rpartition("/")[0] for _, path, _ in ROUTES}
    rules = {rule.rule.partition("/<public>")[0] for rule in app.url_map.iter_rules() if "<public>" in rule.rule}

    assert rules <= tried


def test_a_tenant_s_keys_share_their_jobs(app: Flask, red: FlaskClient) -> None:
    job, again = made(red), client_for(app, "red-2")

    assert listed(again) == [job]
    assert again.post(f"/v1/responses/resp_{job}/cancel").get_json()["status"] == "cancelled"
    assert again.delete(f"/v1/videos/video_{job}").status_code == 200
    assert listed(red) == []


def test_lists_hold_one_s_own_only(red: FlaskClient, blue: FlaskClient) -> None:
    mine, theirs = [made(red) for _ in range(3)], [made(blue) for _ in range(2)]

    assert listed(red) == mine[::-1]
    assert listed(blue) == theirs[::-1]
    assert listed(red, f"?limit=1&after=video_{mine[2]}") == [mine[1]]


def test_a_place_in_a_list_is_one_s_own_even_when_its_job_is_gone(red: FlaskClient, blue: FlaskClient) -> None:
    first, second, theirs = made(red), made(red), made(blue)
    for client, job in ((red, second), (blue, theirs)):
        client.delete(f"/v1/videos/video_{job}")

    assert listed(red, f"?after=video_{second}") == [first]
    assert red.get(f"/v1/videos?after=video_{theirs}").status_code == 404


def test_an_idempotency_key_is_one_s_own(red: FlaskClient, blue: FlaskClient) -> None:
    name = {"Idempotency-Key": "order 66"}
    body = {"model": "text", "input": "a", "background": True}
    first, again, other = (
        client.post("/v1/responses", json=body, headers=name).get_json() for client in (red, red, blue)
    )
    another = blue.post("/v1/responses", json={**body, "input": "b"}, headers={"Idempotency-Key": "mine"})

    assert first["id"] == again["id"] != other["id"]
    assert another.status_code == 200
    assert red.post("/v1/responses", json=body, headers={"Idempotency-Key": "mine"}).status_code == 200  # not 422


def test_a_previous_response_of_another_s_tells_nothing(red: FlaskClient, blue: FlaskClient) -> None:
    job = made(red)
    body = {"model": "text", "input": "a", "background": True}
    answers = [
        blue.post("/v1/responses", json={**body, "previous_response_id": f"resp_{one}"}) for one in (job, NOBODY)
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    for answer, previous in zip(answers, (job, NOBODY), strict=True):
        assert (
            answer.get_json()["previous_response_id"] == f"resp_{previous}"
        )  # as it was sent, and looked up by nobody
        assert answer.get_json()["error"] is None


def test_admin_sees_cancels_and_deletes_everybody_s(
    ops: FlaskClient, red: FlaskClient, blue: FlaskClient, worker: Worker
) -> None:
    theirs = made(red, wait=True)
    queued = made(blue, model="slow", input="a")

    assert listed(ops) == [queued, theirs]
    assert listed(ops, f"?after=video_{queued}") == [theirs]
    assert ops.get(f"/v1/videos/video_{theirs}/content").status_code == 200
    assert ops.post(f"/v1/responses/resp_{queued}/cancel").get_json()["status"] == "cancelled"
    for job in (theirs, queued):
        assert ops.delete(f"/v1/videos/video_{job}").status_code == 200
    assert listed(red) == listed(blue) == listed(ops) == []


def test_what_admin_makes_is_its_own(ops: FlaskClient, red: FlaskClient) -> None:
    source = made(red)
    again = ops.post(f"/v1/videos/video_{source}/remix", json={"prompt": "b"}).get_json()

    assert again["remixed_from_video_id"] == f"video_{source}"
    assert listed(red) == [source]


def test_jobs_from_before_the_first_key_belong_to_local(system: System) -> None:
    job = made(create_app(system).test_client())
    texts = [make_key(system, "red"), make_key(system, "mine", LOCAL)]
    app = create_app(system)

    assert [listed(client_of(app, text)) for text in texts] == [[], [job]]


def test_a_job_knows_its_key_and_its_owner(red: FlaskClient, system: System) -> None:
    job = system.jobs.get(made(red), None)

    assert job is not None
    assert (job.owner, job.key) == ("red", TEXTS["red"][:11])


def test_the_answer_to_a_request_says_nothing_of_its_key(red: FlaskClient) -> None:
    answer = red.get(f"/v1/responses/resp_{made(red)}")

    assert TEXTS["red"][:11] not in answer.text
