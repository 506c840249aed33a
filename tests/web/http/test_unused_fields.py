"""Images in requests are used, refused or named in a warning."""

import io
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import data_url, png, refused, stored, with_image
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from router.system import System

URL, OTHER = data_url(png()), data_url(png(32, 32))
FIRST = (
    "input_reference", "image", "image_url", "image_reference", "reference_url", "input_image", "first_frame", "first_image",
    "start_image",
)  # fmt: skip
LAST = ("last_image", "last_frame", "end_image")
NOT_READ = (
    "images", "reference_image", "reference_images", "input_references", "video_reference", "video", "video_url", "input_video",
    "mask", "mask_url", "audio_reference", "audio", "source_image", "init_image", "image_b64", "tail_image", "image_tail", "control_video",
    "imageUrl", "firstFrame", "lastFrameUrl", "first-frame", "file", "file_id", "input_file", "image_0", "last_frame_image",
    "promptImage", "logo_image", "ending_frame", "attachments", "image_a", "media", "image_bytes", "photo",
)  # fmt: skip
Way = Callable[[FlaskClient, str, Any], TestResponse]


def as_json(client: FlaskClient, name: str, value: Any) -> TestResponse:
    return client.post("/v1/videos", json={"model": "any", "prompt": "a", name: value})


def as_form(client: FlaskClient, name: str, value: Any) -> TestResponse:
    text = value if isinstance(value, str) else json.dumps(value)
    return client.post(
        "/v1/videos", data={"model": "any", "prompt": "a", name: text}, content_type="multipart/form-data"
    )


def as_extra(client: FlaskClient, name: str, value: Any) -> TestResponse:
    data = {"model": "any", "prompt": "a", "extra_body": json.dumps({name: value})}
    return client.post("/v1/videos", data=data, content_type="multipart/form-data")


WAYS: dict[str, Way] = {"json": as_json, "form": as_form, "extra": as_extra}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_a_plain_name_is_the_first_frame(
    client: FlaskClient, system: System, way: Way, subtests: pytest.Subtests
) -> None:
    for name in FIRST:
        with subtests.test(name=name):
            for value in (URL, {"url": URL}, {"image_url": URL}, {"image_url": {"url": URL}}):
                job = stored(system, way(client, name, value))

                assert (job.model, [one.role for one in job.inputs]) == ("image", ["image"])


@pytest.mark.parametrize("name", FIRST)
def test_a_plain_name_may_hold_a_file(client: FlaskClient, system: System, name: str) -> None:
    data = {"model": "any", "prompt": "a", name: (io.BytesIO(png()), "a.png")}
    job = stored(system, client.post("/v1/videos", data=data, content_type="multipart/form-data"))

    assert (job.model, [one.role for one in job.inputs]) == ("image", ["image"])


@pytest.mark.parametrize("name", LAST)
def test_a_plain_name_is_the_last_frame(client: FlaskClient, system: System, name: str) -> None:
    body = {"model": "ends", "prompt": "a", "first_frame": URL}
    whole = stored(system, client.post("/v1/videos", json={**body, name: OTHER}))

    assert [(one.role, one.size) for one in whole.inputs] == [("image", len(png())), ("last_image", len(png(32, 32)))]
    error = client.post("/v1/videos", json={"model": "any", "prompt": "a", name: OTHER}).get_json()["error"]
    assert (error["code"], error["param"]) == ("modality_mismatch", name)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_an_image_under_another_name_is_refused(
    client: FlaskClient, system: System, way: Way, subtests: pytest.Subtests
) -> None:
    for name in NOT_READ:
        with subtests.test(name=name):
            for value in (
                URL,
                "https://example.org/cat.png",
                [URL],
                {"url": "https://example.org/cat.mp4"},
                {"file_id": "file-1"},
            ):
                error = refused(way(client, name, value), system)

                assert error["code"] == "unknown_parameter"
                assert error["param"].removeprefix("extra_body.").startswith(name)
                assert "input_reference" in error["message"]


def test_a_file_under_another_name_is_refused(client: FlaskClient, system: System, subtests: pytest.Subtests) -> None:
    for name in NOT_READ:
        with subtests.test(name=name):
            data = {"model": "any", "prompt": "a", name: (io.BytesIO(png()), "a.png")}
            error = refused(client.post("/v1/videos", data=data, content_type="multipart/form-data"), system)

            assert (error["code"], error["param"]) == ("unknown_parameter", name)


def test_a_response_reads_images_in_its_input_only(
    client: FlaskClient, system: System, subtests: pytest.Subtests
) -> None:
    for name in [*FIRST, *LAST, *NOT_READ]:
        with subtests.test(name=name):
            for value in (URL, "https://example.org/cat.png", {"image_url": URL}):
                error = refused(client.post("/v1/responses", json={"model": "any", "input": "a", name: value}), system)

                assert (error["code"], error["param"].split(".")[0]) == ("unknown_parameter", name)
                assert "input_image" in error["message"]


TWICE: dict[str, dict[str, Any]] = {
    "two first frames": {"input_reference": URL, "image_url": OTHER},
    "two last frames": {"image": URL, "last_frame": URL, "end_image": OTHER},
    "a last frame and the option": {
        "image": URL,
        "end_image": URL,
        "provider_options": {"video": {"last_image": OTHER}},
    },
    "one more in the extra body": {"image": URL, "extra_body": {"image": OTHER}},
}


@pytest.mark.parametrize("body", TWICE.values(), ids=TWICE.keys())
def test_two_images_for_one_frame_are_refused(client: FlaskClient, system: System, body: dict[str, Any]) -> None:
    error = refused(client.post("/v1/videos", json={"model": "any", "prompt": "a", **body}), system)

    assert error["code"] == "invalid_value"
    assert "two images for one frame" in error["message"]


def test_one_image_under_two_names_is_one_image(client: FlaskClient, system: System) -> None:
    body = {
        "model": "any",
        "prompt": "a",
        "input_reference": URL,
        "image": URL,
        "extra_body": {"image_url": {"url": URL}},
    }

    assert len(stored(system, client.post("/v1/videos", json=body)).inputs) == 1


def part(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [fields, {"type": "input_text", "text": "a"}]}]


@pytest.mark.parametrize("kind", ["input_image", "image_url"])
@pytest.mark.parametrize("value", [URL, {"url": URL}, {"url": URL, "detail": "high"}])
def test_a_part_in_the_words_of_chats_is_read(client: FlaskClient, system: System, kind: str, value: Any) -> None:
    body = {"model": "any", "input": part(type=kind, image_url=value, file_id=None), "background": True}
    job = stored(system, client.post("/v1/responses", json=body))

    assert (job.model, len(job.inputs)) == ("image", 1)


PARTS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a file id": (part(type="input_image", file_id="file-1"), "input[0].content[0].file_id"),
    "a file id beside an image": (part(type="input_image", image_url=URL, file_id="file-1"), "input[0].content[0].file_id"),
    "a video": (part(type="input_video", video_url=URL), "input[0].content[0]"),
    "a file": (part(type="input_file", file_data=URL), "input[0].content[0]"),
    "a sound": (part(type="input_audio", input_audio={"data": "aaaa"}), "input[0].content[0]"),
    "another image in the part": (part(type="input_image", image_url=URL, mask=OTHER), "input[0].content[0].mask"),
    "an image in a text part": (part(type="input_text", text="a", image_url=URL), "input[0].content[0].image_url"),
    "an image in a prompt": ([{"role": "user", "content": f"![cat]({URL})"}], "input[0].content"),
    "images beside the content": ([{"role": "user", "content": "a", "images": ["aGVsbG8="]}], "input[0].images[0]"),
    "an image of a system message": (
        [{"role": "system", "content": "a", "image": "https://example.org/a.png"}, {"role": "user", "content": "a"}], "input[0].image",
    ),
    "an image before the last message": ([*with_image("a", URL), {"role": "user", "content": "faster"}], "input[0]"),
    "a last message without a role": ([*with_image("a", URL), {"content": "faster"}], "input[0]"),
}  # fmt: skip


@pytest.mark.parametrize(("items", "param"), PARTS.values(), ids=PARTS.keys())
def test_a_part_that_is_not_read_is_refused_by_name(
    client: FlaskClient, system: System, items: list[dict[str, Any]], param: str
) -> None:
    assert refused(client.post("/v1/responses", json={"model": "any", "input": items}), system)["param"] == param


def test_images_of_earlier_messages_are_a_warning_where_the_request_has_its_own(
    client: FlaskClient, system: System
) -> None:
    answer = {"role": "assistant", "content": [{"type": "output_video", "video_url": "/v1/videos/video_0/content"}]}
    called = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": OTHER}]}
    items = [*with_image("a", OTHER), answer, called, *with_image("b", URL)]
    job = stored(system, client.post("/v1/responses", json={"model": "any", "input": items, "background": True}))

    assert [one.size for one in job.inputs] == [len(png())]
    assert job.warnings == ("images and videos of earlier messages are not used: input[0], input[1], input[2]",)


def test_what_the_assistant_showed_is_a_warning(client: FlaskClient) -> None:
    first = client.post("/v1/responses", json={"model": "text", "input": "a", "background": True}).get_json()
    shown = {"role": "assistant", "content": [{"type": "output_image", "image_url": URL}]}
    items = [{"role": "user", "content": "a"}, *first["output"], shown, {"role": "user", "content": "in blue"}]
    answer = client.post("/v1/responses", json={"model": "text", "input": items, "background": True}).get_json()

    assert answer["warnings"] == ["images and videos of earlier messages are not used: input[1]"]


ANYWHERE: dict[str, dict[str, Any]] = {
    "metadata": {"metadata": {"a": URL[:100]}},
    "a tool": {"tools": [{"type": "function", "name": "f", "description": URL}]},
    "a schema": {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"default": URL}}}},
    "instructions": {"instructions": f"like this: {URL}"},
    "items of instructions": {"instructions": with_image("a", URL)},
    "a stored prompt": {
        "prompt": {"id": "p", "variables": {"cat": {"type": "input_image", "image_url": "https://a.b/c"}}}
    },
    "bytes in an object": {"instances": [{"image": {"bytesBase64Encoded": "aGVsbG8="}}]},
    "numbered frames": {"keyframes": {"frame0": {"type": "image", "url": "https://example.org/a.png"}}},
    "another provider's block": {"provider_options": {"openai": {"deep": [{"image": "https://example.org/a.png"}]}}},
    "an unknown key": {"whatever": [[{"deep": {"deeper": "  DATA:Image/png;base64,aaaa"}}]]},
    "an unknown key, a video": {"whatever": "data:video/mp4;base64,aaaa"},
    "a negative prompt": {"provider_options": {"video": {"negative_prompt": URL}}},
}


@pytest.mark.parametrize("body", ANYWHERE.values(), ids=ANYWHERE.keys())
def test_a_data_url_is_refused_wherever_it_stands(client: FlaskClient, system: System, body: dict[str, Any]) -> None:
    error = refused(client.post("/v1/responses", json={"model": "any", "input": "a", **body}), system)

    assert error["code"] == "unknown_parameter"
    assert error["param"].startswith(next(iter(body)))


FINE: dict[str, dict[str, Any]] = {
    "a tool that takes an image": {
        "tools": [{"type": "function", "name": "f", "parameters": {"properties": {"image": {"type": "string"}, "first_frame": {"type": "string"}}}}],
    },
    "metadata of that name": {"metadata": {"image": "cat.png"}},
    "a size and a number": {"image_size": "64x64", "frames": 3, "frame_interpolation": "rife", "reference_id": "order-17", "video_length": "5"},
    "counts": {"num_images": "4", "output_video": "mp4", "video_format": "mp4", "image_strength": "0.5", "max_video_id": "9"},
    "truths": {"generate_audio": True, "image": None, "mask": False},
    "prose": {"instructions": "an image, data: and a video, and how data:image/png is written"},
}  # fmt: skip


@pytest.mark.parametrize("body", FINE.values(), ids=FINE.keys())
def test_what_is_no_image_is_not_taken_for_one(client: FlaskClient, body: dict[str, Any]) -> None:
    answer = client.post(
        "/v1/responses", json={"model": "any", "input": "a", "background": True, "tool_choice": "none", **body}
    )

    assert answer.status_code == 200, answer.get_json()


def test_a_remix_drops_no_image(client: FlaskClient, system: System) -> None:
    source = client.post("/v1/videos", json={"model": "text", "prompt": "a"}).get_json()
    for name in (*FIRST, *LAST, *NOT_READ):
        answer = client.post(f"/v1/videos/{source['id']}/remix", json={"prompt": "b", name: URL})

        assert (answer.status_code, answer.get_json()["error"]["param"]) == (400, name)


NAMES = (
    "image",
    "first_frame",
    "mask",
    "whatever",
    "url",
    "images",
    "content",
    "provider_options",
    "video",
    "metadata",
    "input",
    "x",
)


def buried(dice: random.Random, value: Any) -> Any:
    """Put a value under random names, up to five deep."""
    for _ in range(dice.randrange(5)):
        value = [value] if dice.random() < 0.3 else {dice.choice(NAMES): value}
    return value


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/responses"])
@pytest.mark.parametrize("url", [URL, "https://127.0.0.1:1/cat.png"])
def test_wherever_an_image_is_put_it_is_never_dropped_in_silence(
    client: FlaskClient, system: System, path: str, url: str
) -> None:
    """300 bodies with an image at random positions: none is silently dropped."""
    dice = random.Random(11)
    seen = {200: 0, 400: 0}
    for _ in range(300):
        body: dict[str, Any] = {"model": "any", "prompt" if path == "/v1/videos" else "input": "a"}
        body |= {"background": True}
        name = dice.choice([*NAMES, *FIRST, *NOT_READ])
        body[name] = buried(dice, url)
        answer = client.post(path, json=body)
        seen[answer.status_code] += 1
        if answer.status_code == 200:
            job = stored(system, answer)
            if name in ("input", "metadata"):  # a link as text is a prompt, or text that the answer repeats
                continue
            assert job.inputs or (url != URL and any(name in warning for warning in job.warnings)), (body, job.warnings)

    assert seen[400] > 100, seen


HONEST: dict[str, dict[str, Any]] = {
    "a tool that takes data URLs": {
        "tools": [
            {
                "type": "function",
                "name": "edit",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "image": {
                            "type": "string",
                            "description": "data:image/png;base64,... or a link",
                            "pattern": "^data:image/(png|jpeg);base64,",
                        }
                    },
                },
            }
        ]
    },
    "instructions about data URLs": {"instructions": "Never print data:image/png;base64, followed by bytes."},
    "a prompt about data URLs": {"input": "explain data:image/png;base64, URLs on a blackboard"},
    "an order": {"reference": "order 17"},
    "a name of the caller's own": {"client_reference": "abc-1", "video_id": "my-1", "trace": {"reference": "t"}},
    "a word": {"audio": "none", "media": "video", "mask": "none", "clip": "last", "video": "mp4"},
    "variables of a prompt": {"prompt": {"id": "p", "variables": {"image": "oil painting"}}},
    "metadata": {"metadata": {"image": "https://example.org/a.png", "source_file": "a.png"}},
    "nulls and nothing": {"image": None, "images": [], "video_url": "", "mask": False},
    "a text that cites a file": {
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "a", "annotations": [{"type": "file_citation", "file_id": "file-1"}]}
                ],
            }
        ]
    },
}


@pytest.mark.parametrize("body", HONEST.values(), ids=HONEST.keys())
def test_words_about_images_are_no_images(client: FlaskClient, body: dict[str, Any]) -> None:
    answer = client.post("/v1/responses", json={"model": "text", "input": "a", "background": True, **body})

    assert answer.status_code == 200, answer.get_json()


@pytest.mark.parametrize("field", ["audio=true", "mask=false", "video=null", "images=[]", "reference=order 17"])
def test_words_in_a_form_are_no_images_either(client: FlaskClient, field: str) -> None:
    name, _, value = field.partition("=")
    data = {"model": "text", "prompt": "a", name: value, "metadata[video_id]": "https://example.org/a.mp4"}

    assert client.post("/v1/videos", data=data, content_type="multipart/form-data").status_code == 200


@pytest.mark.parametrize("name", ["imageurl", "firstframe", "startimage", "image_input", "image_link", "frame_url"])
def test_a_link_under_a_name_that_others_use_is_refused(client: FlaskClient, system: System, name: str) -> None:
    body = {"model": "any", "prompt": "a", name: "https://example.org/cat.png"}

    assert refused(client.post("/v1/videos", json=body), system)["param"] == name


def test_one_file_under_two_names_is_one_image(client: FlaskClient, system: System) -> None:
    data = {name: (io.BytesIO(png()), "a.png") for name in ("image", "input_reference")}
    made = client.post("/v1/videos", data={"model": "image", "prompt": "a", **data}, content_type="multipart/form-data")

    assert len(stored(system, made).inputs) == 1


def test_an_image_of_a_part_that_has_its_type_beside_it_is_refused(client: FlaskClient, system: System) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "aaaa"}
    said = [{"role": "user", "content": [{"type": "input_text", "text": "a", "source": source}]}]

    assert refused(client.post("/v1/responses", json={"model": "any", "input": said}), system)["param"].startswith(
        "input"
    )


def test_a_key_of_a_part_that_has_no_meaning_is_named(client: FlaskClient) -> None:
    said = [{"role": "user", "content": [{"type": "input_text", "text": "a", "thumb": "x"}], "parts": ["y"]}]
    answer = client.post("/v1/responses", json={"model": "text", "input": said, "background": True}).get_json()

    assert answer["warnings"] == ["not used, as nothing here has that name: input[0].parts, input[0].content[0].thumb"]


def test_an_image_that_a_tool_made_after_the_request_is_refused(client: FlaskClient, system: System) -> None:
    items = [
        {"role": "user", "content": "animate it"},
        {"type": "function_call", "call_id": "c", "name": "draw", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": URL}]},
    ]

    assert (
        "last user message"
        in refused(client.post("/v1/responses", json={"model": "any", "input": items}), system)["message"]
    )


def test_a_hostile_name_is_shown_as_text(client: FlaskClient, system: System) -> None:
    name = "image\n\u202e\x1b"
    error = refused(client.post("/v1/videos", json={"model": "any", "prompt": "a", name: URL}), system)

    assert (error["param"] + error["message"]).isprintable()


def test_a_hostile_body_costs_little(client: FlaskClient) -> None:
    bodies: list[Any] = [
        {"whatever": "d" * 2**25},
        {"whatever": "data:" * 2**22},
        {"whatever": "data:image/" * 2**21},  # froze the whole process for ten seconds
        {"whatever": "x " + "data:image/png;base64,AAAA" * 2**19},
        {"whatever": "data:,AAAA" * 2**20},
        {"whatever": [0] * 90_000},
        {"whatever": {f"{'image_' * 15}{n}!": 0 for n in range(25_000)}},
        {"input": [{"role": "assistant", "content": "x"}] * 20_000 + [{"role": "user", "content": "a"}]},
    ]
    for body in bodies:
        data = json.dumps({"model": "text", "input": "a", "background": True, **body})
        started = time.thread_time()
        assert client.post("/v1/responses", data=data, content_type="application/json").status_code == 200
        assert time.thread_time() - started < 3
    blocks = {"provider_options": {f"k{n}": 1 for n in range(50_000)}}
    error = client.post("/v1/responses", json={"model": "text", "input": "a", **blocks}).get_json()["error"]
    assert (error["code"], error["param"]) == ("limit_exceeded", "provider_options")
    many = json.dumps({"model": "text", "input": "a", "whatever": [0] * 300_000})
    error = client.post("/v1/responses", data=many, content_type="application/json").get_json()["error"]
    assert error["code"] == "limit_exceeded"
