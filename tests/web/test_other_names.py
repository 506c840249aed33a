"""Paths of other servers: those that are served, and those refused in words."""

import json
import tracemalloc

import pytest
from conftest import refused, stored
from flask.testing import FlaskClient

from router.runtime.release import installed_version
from router.system import System

FORM = "application/x-www-form-urlencoded"


def test_health_is_another_name_of_healthz(client: FlaskClient) -> None:
    assert client.get("/health").get_json() == client.get("/healthz").get_json() == {"status": "ok"}


def test_the_version_is_the_installed_one(client: FlaskClient) -> None:
    assert client.get("/version").get_json() == {"version": installed_version()}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_chat_is_refused_with_the_way_to_go(client: FlaskClient, path: str) -> None:
    answer = client.post(path, json={"model": "text", "messages": []})
    message = answer.get_json()["error"]["message"]

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_found")
    assert message.startswith(f"not found: there is no {path} here")
    assert "POST /v1/responses" in message


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/responses/compact", 404),
        ("GET", "/v1/responses/compact", 404),
        ("GET", "/v1/videos/sync", 405),
        ("GET", "/v1/videos/generations", 405),
        ("POST", "/v1/videos/video_" + "0" * 32, 405),
        ("GET", "/v1/videos/video_" + "0" * 32, 404),
        ("GET", "/v1/videos/does-not-exist", 404),
        ("DELETE", "/v1/responses/resp_" + "0" * 32, 404),
    ],
)
def test_what_is_not_there_is_not_found(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)

    assert answer.status_code == status
    assert ("not found" in answer.get_json()["error"]["message"]) is (status == 404)


def test_a_byte_order_mark_is_read_over(client: FlaskClient) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"input": "a", "background": True}).encode()

    assert client.post("/v1/responses", data=body, content_type="application/json").status_code == 200


URLENCODED = {
    "no text": ("prompt=%ff", "invalid_value", "prompt"),
    "no text in a name": ("%ff=a&prompt=a", "invalid_value", "a field's name"),
    "JSON": ('{"prompt": "a"}', "unsupported_media_type", ""),
    "no name": ("=a&prompt=a", "invalid_form", ""),
    "twice": ("prompt=a&prompt=b", "invalid_form", "prompt"),
    "many": ("&".join(f"a{n}=1" for n in range(300)), "invalid_form", ""),
    "a long name": (f"prompt=a&{'a' * 300}=1", "invalid_form", ""),
    "long text": (f"prompt={'a' * (5 * 2**20)}", "limit_exceeded", "prompt"),
    "many escapes": (f"prompt={'%61' * (2**20 + 1)}", "limit_exceeded", ""),
    "a wrong number": ("prompt=a&steps=many", "invalid_value", "steps"),
    "a wrong option": (
        "prompt=a&provider_options[video][stepz]=3",
        "unknown_parameter",
        "provider_options.video.stepz",
    ),
    "nothing": ("", "missing_required_parameter", "prompt"),
}


@pytest.mark.parametrize(("body", "code", "param"), URLENCODED.values(), ids=URLENCODED.keys())
def test_a_wrong_urlencoded_form_is_refused(
    client: FlaskClient, system: System, body: str, code: str, param: str
) -> None:
    answer = client.post("/v1/videos", data=body, content_type=FORM)
    error = answer.get_json()["error"] if code == "unsupported_media_type" else refused(answer, system)

    assert (error["code"], error["param"]) == (code, param)


def test_escapes_are_decoded_whatever_piece_they_fall_into(client: FlaskClient, system: System) -> None:
    prompt = "ä b+ü" * 1200  # escapes of two bytes across the ends of pieces
    answer = client.post("/v1/videos", data={"prompt": prompt, "model": "text"}, content_type=FORM)

    assert stored(system, answer).task.prompt == prompt


def test_escapes_cost_little_memory(client: FlaskClient) -> None:
    def peak(body: bytes) -> int:
        tracemalloc.start()
        answer = client.post("/v1/videos", data=body, content_type=FORM)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer.status_code == 400  # a prompt of a million characters
        return most

    plain = peak(b"prompt=" + b"a" * (3 * 2**20))
    escaped = peak(b"prompt=" + b"%61" * 2**20)

    assert escaped < 2 * plain


@pytest.mark.parametrize(("sent", "steps"), [("extra_body[steps]=3", 3), ("extra_body=%7B%22steps%22%3A3%7D", 3)])
def test_nested_fields_of_a_form_have_their_types(client: FlaskClient, system: System, sent: str, steps: int) -> None:
    answer = client.post("/v1/videos", data=f"prompt=a&model=text&n=1.0&stream=False&{sent}", content_type=FORM)

    assert stored(system, answer).task.steps == steps


@pytest.mark.parametrize(
    ("option", "said"),
    [("num_frame", "did you mean num_frames?"), ("stepz", "did you mean steps?"), ("xyzzy", "it has width, height,")],
)
def test_a_misspelt_option_is_told_of_the_right_ones(
    client: FlaskClient, system: System, option: str, said: str
) -> None:
    body = {"input": "a", "provider_options": {"video": {option: 1}}}

    assert said in refused(client.post("/v1/responses", json=body), system)["message"]


def test_another_type_is_refused_with_all_that_are_taken(client: FlaskClient) -> None:
    message = client.post("/v1/videos", data="a", content_type="text/plain").get_json()["error"]["message"]

    assert message == f"content-type must be application/json or multipart/form-data or {FORM}, got text/plain"
