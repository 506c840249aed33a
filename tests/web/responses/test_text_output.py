"""Text beside a video, usage, and models without text-only requests."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import MODELS, data_url, png, refused, stored, with_image
from flask.testing import FlaskClient
from support.sse import parse

from router.engine import encoder
from router.engine.worker import Worker
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

VIDEO = {"provider_options": {"video": {"steps": 2}}}
IMAGE: dict[str, Any] = {"provider_options": {"image": {"steps": 2}}}


def ask(client: FlaskClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/responses", json={"input": "a", **body})
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()


def content(response: dict[str, Any]) -> list[dict[str, Any]]:
    return response["output"][0]["content"]


def options(**image: Any) -> dict[str, Any]:
    return {"provider_options": {"image": {"steps": 2, **image}}}


@pytest.mark.parametrize("sent", [{}, VIDEO], ids=["without options", "with options"])
def test_a_text_with_the_link_stands_beside_the_video(
    client: FlaskClient, worker: Worker, sent: dict[str, Any]
) -> None:
    video, text = content(ask(client, text_output=True, **sent))

    assert (video["type"], text["type"]) == ("output_video", "output_text")
    assert text["text"] == video["video_url"]
    assert (text["annotations"], text["logprobs"]) == ([], [])


def test_an_image_and_a_file_in_base64_have_a_text_too(client: FlaskClient, worker: Worker) -> None:
    image, text = content(ask(client, text_output=True, **IMAGE))

    assert (image["type"], image["format"]) == ("output_image", "png")
    assert client.get(text["text"]).data == base64.b64decode(image["image_data"])


def test_a_stream_has_both_parts(client: FlaskClient, worker: Worker) -> None:
    data = client.post("/v1/responses", json={"input": "a", "stream": True, "text_output": True, **VIDEO}).data
    events = list(parse(data))
    parts = [
        (event["content_index"], event["part"]["type"])
        for event in events
        if "done" in event["type"] and "part" in event
    ]
    numbers = [event["sequence_number"] for event in events]

    assert parts == [(0, "output_video"), (1, "output_text")]
    assert [event["content_index"] for event in events if event["type"] == "response.output_text.delta"] == [1]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("value", ["yes", 1, []])
def test_text_output_is_a_flag(client: FlaskClient, system: System, value: object) -> None:
    error = refused(client.post("/v1/responses", json={"input": "a", "text_output": value}), system)

    assert error["param"] == "text_output"


def test_a_remembered_job_without_it_is_shown_as_before(client: FlaskClient, system: System, worker: Worker) -> None:
    job = stored(system, client.post("/v1/responses", json={"input": "a", **VIDEO}))

    assert "text_output" not in job.presentation.as_row()


def test_usage_has_the_keys_that_the_sdks_require(client: FlaskClient, worker: Worker) -> None:
    usage = ask(client, provider_options={"video": {"steps": 3, "width": 96, "height": 32, "num_frames": 9}})["usage"]
    seconds = usage.pop("gpu_seconds")

    assert usage == {
        "input_tokens": 0, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 0,
        "steps": 3, "frames": 9, "pixels": 96 * 32,
    }  # fmt: skip
    assert 0 < seconds < 60


def test_an_unfinished_job_has_no_usage(client: FlaskClient) -> None:
    assert ask(client, background=True)["usage"] is None


def test_an_image_answers_as_maxs_clients_read_it(client: FlaskClient, worker: Worker) -> None:
    response = ask(client, **options(output_format="jpeg", width=128, height=64, num_images=2), seed=4)
    first, second = content(response)
    alone = content(ask(client, **options(width=128, height=64), seed=5))

    assert (first["type"], first["format"], "image_url" in first) == ("output_image", "jpeg", False)
    assert base64.b64decode(first["image_data"])[:3] == base64.b64decode(second["image_data"])[:3] == b"\xff\xd8\xff"
    assert base64.b64decode(alone[0]["image_data"])[:4] == b"\x89PNG"
    assert response["usage"]["image_generation_details"] == {
        "width": 128, "height": 64, "megapixels": 0.016384, "steps": 2, "image_count": 2,
    }  # fmt: skip
    again = client.get(f"/v1/responses/{response['id']}").get_json()
    assert content(again) == [first, second]
    assert client.delete(f"/v1/responses/{response['id']}").status_code == 200
    assert len(client.get("/v1/videos").get_json()["data"]) == 1


def test_a_link_to_an_image_gives_its_format(client: FlaskClient, worker: Worker) -> None:
    (image,) = content(ask(client, **options(output_format="webp", response_format="url")))
    file = client.get(image["image_url"])

    assert (image["format"], file.mimetype, file.data[:4]) == ("webp", "image/webp", b"RIFF")
    assert client.get(image["image_url"], headers={"If-None-Match": file.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({**options(num_images=5)}, "provider_options.image.num_images"),
        ({**options(num_images=0)}, "provider_options.image.num_images"),
        ({**options(num_images=2), "background": True}, "provider_options.image.num_images"),
        ({**options(num_images=2), "stream": True}, "provider_options.image.num_images"),
        ({**options(output_format="gif")}, "provider_options.image.output_format"),
        ({**options(strength=2)}, "provider_options.image.strength"),
        ({"provider_options": {"video": {"num_images": 2}}}, "provider_options.video.num_images"),
        ({"provider_options": {"video": {"output_format": "png"}}}, "provider_options.video.output_format"),
    ],
)
def test_what_an_image_cannot_have_is_refused(
    client: FlaskClient, system: System, body: dict[str, Any], param: str
) -> None:
    assert refused(client.post("/v1/responses", json={"input": "a", **body}), system)["param"] == param


def test_maxs_other_names_are_taken(client: FlaskClient, worker: Worker) -> None:
    more = {"secondary_prompt": "b", "secondary_negative_prompt": "c", "strength": 0.6}
    response = ask(client, **options(**more))

    assert content(response)[0]["type"] == "output_image"
    named = ", ".join(f"provider_options.image.{name}" for name in more)
    assert response["warnings"] == [f"not used, as nothing here has that name: {named}"]


def test_what_a_part_has_no_use_for_is_named(client: FlaskClient, worker: Worker) -> None:
    parts = [{"type": "input_text", "text": "a", "file_id": "0b1c2d3e"}]
    response = ask(client, input=[{"role": "user", "content": parts}])

    assert response["warnings"] == ["not used, as nothing here has that name: input[0].content[0].file_id"]


@pytest.mark.parametrize("parts", [[{"text": "a"}], [{"text": "a"}, {"image_url": data_url(png())}]])
def test_a_part_without_a_type_is_what_its_key_says(
    client: FlaskClient, worker: Worker, parts: list[dict[str, str]]
) -> None:
    response = ask(client, input=[{"content": parts}])

    assert response["model"] == ("image" if len(parts) == 2 else "text")


@pytest.mark.parametrize(
    "part",
    [{}, {"text": "a", "image_url": data_url(png())}, {"video_url": "x"}, {"type": None}, {"type": 7, "text": "a"}],
)
def test_a_part_that_says_neither_is_refused(client: FlaskClient, system: System, part: dict[str, Any]) -> None:
    error = refused(client.post("/v1/responses", json={"input": [{"role": "user", "content": [part]}]}), system)

    assert error["param"] == "input[0].content[0]"


@pytest.fixture
def quiet(settings: Settings) -> System:
    """Return a system whose text model makes nothing of text alone."""
    models = Path(settings.models)
    models.write_text(MODELS.replace("modality: t2v, aliases", "modality: t2v, text_only: refuse, aliases"))
    return assemble(settings, plugins=[encoder])


def test_a_model_may_refuse_a_chat(quiet: System) -> None:
    client = create_app(quiet).test_client()
    for body in ({"input": "a title for this chat?"}, {"input": "a", "model": "text"}, {"input": "a", "stream": True}):
        error = refused(client.post("/v1/responses", json=body), quiet)

        assert (error["code"], error["param"]) == ("missing_required_parameter", "provider_options")
        assert error["message"] == "text answers requests with provider_options.video only, got one without options"


def test_a_model_that_refuses_a_chat_makes_videos(quiet: System) -> None:
    client = create_app(quiet).test_client()
    for path, body in (
        ("/v1/responses", {"input": "a", **VIDEO, "background": True}),
        ("/v1/responses", {"input": "a", "text_output": True, "background": True}),
        (
            "/v1/responses",
            {"input": with_image("a", data_url(png())), "background": True},
        ),  # of the route's other member
        ("/v1/videos", {"prompt": "a"}),
    ):
        assert client.post(path, json=body).status_code == 200, body


def test_a_model_that_refuses_a_chat_calls_no_function_either(quiet: System) -> None:
    tools = [{"type": "function", "name": "f"}]
    answer = create_app(quiet).test_client().post("/v1/responses", json={"input": "a", "tools": tools})

    assert answer.status_code == 400


def test_the_public_url_is_before_the_link_of_the_text(system: System, worker: Worker) -> None:
    public = replace(system, settings=replace(system.settings, public_url="https://v.example"))
    _, text = content(ask(create_app(public).test_client(), text_output=True))

    assert text["text"].startswith("https://v.example/v1/videos/video_")
