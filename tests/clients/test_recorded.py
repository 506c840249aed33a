"""Every client's requests in every run; the clients themselves run with `--all`."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from clients.recorded import RECORDED, Done, Recorded
from flask.testing import FlaskClient
from support.patience import until
from werkzeug.test import TestResponse

from router.engine.worker import Worker


def mp4(data: bytes) -> bool:
    return data[4:8] == b"ftyp"


def check_response(answer: TestResponse, client: FlaskClient, wanted: Done) -> None:
    content = answer.get_json()["output"][0]["content"]
    first = content[0]
    data = base64.b64decode(first["image_data"]) if "image_data" in first else client.get(path(first)).data
    assert mp4(data) or data.startswith((b"\x89PNG", b"\xff\xd8\xff"))
    assert all(part["text"] == first["video_url"] for part in content[1:])  # of `text_output`


def path(part: dict[str, Any]) -> str:
    return str(part.get("video_url") or part["image_url"])


def check_video(answer: TestResponse, client: FlaskClient, wanted: Done) -> None:
    def completed() -> dict[str, Any] | None:
        job = client.get(f"/v1/videos/{answer.get_json()['id']}").get_json()
        assert job["status"] != "failed", job
        return job if job["status"] == "completed" else None

    job = until(completed)
    assert mp4(client.get(f"/v1/videos/{job['id']}/content").data)
    assert job["num_outputs"] == 1
    assert job["inference_time_s"] > 0
    assert job["url"].startswith("http://")  # SGLang's ComfyUI node fetches it as it stands
    assert mp4(client.get(job["url"]).data)


def check_images(answer: TestResponse, client: FlaskClient, wanted: Done) -> None:
    made = answer.get_json()["data"]
    assert len(made) == wanted.number
    for one in made:
        data = base64.b64decode(one["b64_json"]) if one.get("b64_json") else client.get(one["url"]).data
        assert data.startswith(b"\x89PNG")


def check_mp4(answer: TestResponse, client: FlaskClient, wanted: Done) -> None:
    assert answer.content_type == "video/mp4"
    assert mp4(answer.data)


def check_mlperf(answer: TestResponse, client: FlaskClient, wanted: Done) -> None:
    # one key more is a failure to its client
    assert set(answer.get_json()) == {"video_id", "video_bytes"}
    assert mp4(base64.b64decode(answer.get_json()["video_bytes"]))


CHECKS: dict[str, Callable[[TestResponse, FlaskClient, Done], None]] = {
    "response": check_response,
    "video": check_video,
    "images": check_images,
    "mp4": check_mp4,
    "mlperf": check_mlperf,
}


def play(client: FlaskClient, one: Recorded) -> TestResponse:
    headers = {"Authorization": "Bearer None"}  # as MAX and vLLM-Omni send it where no key is set
    return client.post(f"/v1/{one.path}", data=one.body.data, content_type=one.body.media_type, headers=headers)


def check_ran(client: FlaskClient, wanted: Done) -> None:
    """Compare the newest job, of several the first, with the request."""
    *_, job = client.get(f"/v1/videos?limit={wanted.number}").get_json()["data"]
    (options,) = job["provider_options"].values()
    assert job["model"] == wanted.model
    assert {name: options[name] for name in wanted.options} == wanted.options
    for name in wanted.ignored:
        assert any(name in warning for warning in job["warnings"]), job["warnings"]


def check_refused(answer: TestResponse, one: Recorded) -> None:
    assert not isinstance(one.wanted, Done)
    error = answer.get_json()["error"]
    assert (answer.status_code, error["code"]) == (one.wanted.status, one.wanted.code), error
    assert one.wanted.message in error["message"]


def check(client: FlaskClient, one: Recorded) -> None:
    answer = play(client, one)
    if not isinstance(one.wanted, Done):
        check_refused(answer, one)
        return
    assert answer.status_code == 200, answer.get_json()
    CHECKS[one.wanted.kind](answer, client, one.wanted)
    check_ran(client, one.wanted)


@pytest.mark.parametrize("name", dict.fromkeys(one.client for one in RECORDED))
def test_a_clients_requests_do_what_they_say(
    client: FlaskClient, worker: Worker, subtests: pytest.Subtests, name: str
) -> None:
    for number, one in enumerate(RECORDED):
        if one.client != name:
            continue
        with subtests.test(path=one.path, row=number):
            check(client, one)


@pytest.mark.parametrize("path", ["/health", "/version", "/v1/models"])
def test_what_the_clients_ask_before_they_start_is_answered(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Authorization": "Bearer None"})

    assert answer.status_code == 200
    assert isinstance(json.loads(answer.data), dict)
