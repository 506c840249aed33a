"""The size of an image-to-video job: policies, cropping, single frames."""

import io
from typing import Any

import pytest
from conftest import data_url, leftovers, png, with_image
from flask.testing import FlaskClient

from registry import ModelSpec
from router import Refused, Task, hookimpl
from router.engine import encoder
from router.engine.worker import Worker
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

TOOL = {"type": "function", "name": "stop"}


class Policy:
    """Allows up to 64 pixels of width, and remembers what it saw."""

    def __init__(self, widest: int = 64) -> None:
        self.widest = widest
        self.seen: list[Task] = []

    @hookimpl
    def check_request(self, model: ModelSpec, task: Task) -> None:
        self.seen.append(task)
        if task.width > self.widest:
            raise Refused(f"{model.name} makes up to {self.widest} pixels of width here, got {task.width}")


def client_with(settings: Settings, policy: Policy) -> tuple[FlaskClient, System]:
    system = assemble(settings, plugins=[encoder, policy])
    return create_app(system).test_client(), system


def asks(picture: bytes) -> dict[str, dict[str, Any]]:
    """Return the same request with each way to send an image, as `post` arguments."""
    url = data_url(picture)
    videos = {"path": "/v1/videos"}
    responses = {"path": "/v1/responses"}
    body = {"model": "image", "input": with_image("a", url), "background": True}
    form = {"model": "image", "prompt": "a", "input_reference": (io.BytesIO(picture), "a.png")}
    return {
        "a response": {**responses, "json": body},
        "a response with a key": {**responses, "json": body, "headers": {"Idempotency-Key": "k"}},
        "the call of a function": {**responses, "json": {**body, "tools": [TOOL]}},
        "a video": {**videos, "json": {"model": "image", "prompt": "a", "input_reference": {"image_url": url}}},
        "a video as a form": {**videos, "data": form},
    }


@pytest.mark.parametrize("way", asks(b"").keys())
def test_a_policy_sees_the_size_of_the_job(settings: Settings, way: str) -> None:
    policy = Policy(128)
    client, system = client_with(settings, policy)
    answer = client.post(**asks(png(128, 64))[way])

    assert answer.status_code == 200
    assert [(task.width, task.height) for task in policy.seen] == [(80, 32)]
    if way != "the call of a function":
        job = system.jobs.get(answer.get_json()["id"].split("_")[1], "local")
        assert job is not None
        assert job.task == policy.seen[0]


@pytest.mark.parametrize("way", asks(b"").keys())
def test_an_image_cannot_make_a_video_larger_than_a_policy_allows(settings: Settings, way: str) -> None:
    client, system = client_with(settings, Policy())
    answer = client.post(**asks(png(128, 64))[way])

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "refused")
    assert "got 80" in answer.get_json()["error"]["message"]
    assert system.jobs.newest() == 0
    assert leftovers(system) == []


def test_a_policy_comes_before_the_pixels_and_the_gate_before_both(settings: Settings) -> None:
    policy = Policy()
    client, _ = client_with(settings, policy)
    whole = png(128, 64)
    broken = data_url(whole[:60] + bytes(40) + whole[100:])  # within the pixels: its header says nothing of it

    def code(model: str) -> str:
        body = {"model": model, "input": with_image("a", broken)}
        return client.post("/v1/responses", json=body).get_json()["error"]["code"]

    assert code("image") == "refused"
    policy.widest = 128
    assert code("image") == "invalid_image"
    assert code("text") == "modality_mismatch"


@pytest.mark.parametrize("url", ["data:image/png;base64,%%%", data_url(b"text"), data_url(png()[:90])])
def test_a_mismatch_never_waits_for_an_image_with_a_key_neither(client: FlaskClient, url: str) -> None:
    body = {"model": "text", "input": with_image("a", url)}
    for headers in ({}, {"Idempotency-Key": "k"}):
        error = client.post("/v1/responses", json=body, headers=headers).get_json()["error"]

        assert error["code"] == "modality_mismatch"


CROPS: dict[str, tuple[tuple[int, int], dict[str, int], list[str]]] = {
    "beyond 4:1": ((1000, 64), {}, ["image 1000x64 was cropped to 128x32: 74 % of it is not in the video"]),
    "into a square": (
        (1000, 64), {"width": 64, "height": 64}, ["image 1000x64 was cropped to 64x64: 94 % of it is not in the video"],
    ),
    "upright": ((32, 64), {"width": 64, "height": 32}, ["image 32x64 was cropped to 64x32: 75 % of it is not in the video"]),
    "a few percent": ((104, 100), {"width": 64, "height": 64}, ["image 104x100 was cropped to 64x64: 4 % of it is not in the video"]),
    "a little": ((102, 100), {"width": 64, "height": 64}, []),
    "the same aspect": ((640, 320), {"width": 64, "height": 32}, []),
    "the same size": ((64, 64), {}, []),
}  # fmt: skip


@pytest.mark.parametrize(("size", "video", "warnings"), CROPS.values(), ids=CROPS.keys())
def test_an_image_that_is_cropped_is_a_warning(
    client: FlaskClient, worker: Worker, size: tuple[int, int], video: dict[str, int], warnings: list[str]
) -> None:
    url, options = data_url(png(*size)), {"video": video}
    response = client.post(
        "/v1/responses", json={"model": "image", "input": with_image("a", url), "provider_options": options}
    ).get_json()
    made = client.post(
        "/v1/videos", json={"model": "image", "prompt": "a", "input_reference": url, "provider_options": options}
    ).get_json()

    assert response["warnings"] == warnings
    assert made["warnings"] == warnings


def test_a_last_image_that_is_cropped_is_named(client: FlaskClient) -> None:
    body = {"model": "ends", "input": with_image("a", data_url(png()), data_url(png(64, 16))), "background": True}
    answer = client.post("/v1/responses", json=body).get_json()

    assert answer["warnings"] == ["last image 64x16 was cropped to 64x64: 75 % of it is not in the video"]


ONE_FRAME: dict[str, tuple[str, int, bool]] = {
    "a first and a last image": ("ends", 2, False),
    "an image for a text-and-image model": ("both", 1, False),
    "an image for an image model": ("image", 1, True),
    "text for a text-and-image model": ("both", 0, True),
    "text": ("text", 0, True),
}


@pytest.mark.parametrize(("model", "pictures", "made"), ONE_FRAME.values(), ids=ONE_FRAME.keys())
@pytest.mark.parametrize("block", ["video", "image"])
def test_one_frame_is_refused_before_the_queue_where_images_leave_nothing_of_it(
    client: FlaskClient, system: System, block: str, model: str, pictures: int, made: bool
) -> None:
    said = with_image("a", *[data_url(png())] * pictures)
    options = {block: {"num_frames": 1} if block == "video" else {}}
    answer = client.post(
        "/v1/responses", json={"model": model, "input": said, "provider_options": options, "background": True}
    )

    assert answer.status_code == (200 if made else 400)
    if not made:
        error = answer.get_json()["error"]
        assert (error["code"], error["param"]) == ("invalid_value", f"provider_options.{block}.num_frames")
        assert "it makes 5 frames or more, got 1" in error["message"]
        assert system.jobs.newest() == 0


def test_one_frame_is_refused_in_the_other_dialect_too(client: FlaskClient) -> None:
    options = {"last_image": data_url(png()), "num_frames": 1}
    body = {"model": "ends", "prompt": "a", "input_reference": data_url(png()), "provider_options": {"video": options}}
    error = client.post("/v1/videos", json=body).get_json()["error"]

    assert error["param"] == "provider_options.video.num_frames"
    assert error["message"].startswith("ends is first-and-last-frame-to-video: with text, an image and a last image it")
