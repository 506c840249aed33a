"""No request may give a 500, or leave a job or a file behind."""

import json
import struct
import time
import zlib
from dataclasses import replace

import pytest
from conftest import data_url, leftovers, png, with_image
from flask.testing import FlaskClient

from router.system import System
from router.web import create_app

VIDEO = "provider_options.video"


def options(**video: object) -> dict[str, object]:
    return {"input": "a", "provider_options": {"video": video}}


def header(width: int, height: int) -> bytes:
    """Return the first 33 bytes of a PNG of a claimed size."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


BODIES = {
    "text for an image model": ({"model": "image", "input": "a"}, 400, "modality_mismatch", "input"),
    "an image for a text model": (
        {"model": "text", "input": with_image("a", data_url(png()))}, 400, "modality_mismatch", "input",
    ),
    "two images for one": (
        {"model": "both", "input": with_image("a", data_url(png()), data_url(png()))}, 400, "modality_mismatch", "input",
    ),
    "three images": (
        {"model": "ends", "input": with_image("a", *[data_url(png())] * 3)}, 400, "modality_mismatch", "input",
    ),
    "no last image": ({"model": "ends", "input": with_image("a", data_url(png()))}, 400, "modality_mismatch", "input"),
    "an unknown model": ({"model": "nobody", "input": "a"}, 404, "model_not_found", "model"),
    "an empty model": ({"model": "", "input": "a"}, 400, "invalid_value", "model"),
    "a model that is a number": ({"model": 3, "input": "a"}, 400, "invalid_value", "model"),
    "no input": ({}, 400, "missing_required_parameter", "input"),
    "null input": ({"input": None}, 400, "missing_required_parameter", "input"),
    "an empty prompt": ({"input": ""}, 400, "missing_required_parameter", "input"),
    "a blank prompt": ({"input": " \n"}, 400, "missing_required_parameter", "input"),
    "no messages": ({"input": []}, 400, "missing_required_parameter", "input"),
    "no user message": ({"input": [{"role": "system", "content": "a"}]}, 400, "missing_required_parameter", "input"),
    "an image without text": (
        {"model": "image", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": data_url(png())}]}]},
        400, "missing_required_parameter", "input",
    ),
    "input that is a number": ({"input": 3}, 400, "invalid_value", "input"),
    "a message that is a string": ({"input": ["a"]}, 400, "invalid_value", "input[0]"),
    "an unknown role": ({"input": [{"role": "king", "content": "a"}]}, 400, "invalid_value", "input[0]"),
    "a role that is a list": ({"input": [{"role": ["user"], "content": "a"}]}, 400, "invalid_value", "input[0]"),
    "a type that is a list": ({"input": [{"type": ["message"], "content": "a"}]}, 400, "invalid_value", "input[0]"),
    "an unknown part": (
        {"input": [{"role": "user", "content": [{"type": "smell"}]}]}, 400, "invalid_value", "input[0].content[0]",
    ),
    "a part type that is a list": (
        {"input": [{"role": "user", "content": [{"type": []}]}]}, 400, "invalid_value", "input[0].content[0]",
    ),
    "content that is a number": ({"input": [{"role": "user", "content": 3}]}, 400, "invalid_value", "input[0].content"),
    "a control character": ({"input": "a\0b"}, 400, "invalid_value", "input"),
    "half a surrogate pair": ({"input": "a\ud800"}, 400, "invalid_value", "input"),
    "a control character in the negative prompt": (options(negative_prompt="\x1b"), 400, "invalid_value", f"{VIDEO}.negative_prompt"),
    "a prompt of 100,000 characters": ({"input": "a" * 100_000}, 400, "limit_exceeded", "input"),
    "a negative prompt of 100,000": (options(negative_prompt="a" * 100_000), 400, "limit_exceeded", f"{VIDEO}.negative_prompt"),
    "an unknown option": (options(frames=5), 400, "unknown_parameter", f"{VIDEO}.frames"),
    "an unknown option with half a surrogate": (options(**{"\ud800": 5}), 400, "unknown_parameter", f"{VIDEO}.\\ud800"),
    "text for a number": (options(steps="8"), 400, "invalid_value", f"{VIDEO}.steps"),
    "true for a number": (options(steps=True), 400, "invalid_value", f"{VIDEO}.steps"),
    "a broken number of steps": (options(steps=8.5), 400, "invalid_value", f"{VIDEO}.steps"),
    "no steps": (options(steps=0), 400, "invalid_value", f"{VIDEO}.steps"),
    "too many steps": (options(steps=61), 400, "limit_exceeded", f"{VIDEO}.steps"),
    "too many frames": (options(num_frames=52), 400, "limit_exceeded", f"{VIDEO}.num_frames"),
    "no frames": (options(num_frames=0), 400, "invalid_value", f"{VIDEO}.num_frames"),
    "too many pixels": (options(width=256, height=128), 400, "limit_exceeded", f"{VIDEO}.width"),
    "less than one multiple": (options(width=15, height=64), 400, "invalid_value", f"{VIDEO}.width"),
    "a width without a height": (options(width=64), 400, "invalid_value", f"{VIDEO}.height"),
    "a rate of 61": (options(frames_per_second=61), 400, "invalid_value", f"{VIDEO}.frames_per_second"),
    "guidance of 21": (options(guidance_scale=21), 400, "invalid_value", f"{VIDEO}.guidance_scale"),
    "guidance below zero": (options(guidance_scale_2=-0.1), 400, "invalid_value", f"{VIDEO}.guidance_scale_2"),
    "a shift of zero": (options(flow_shift=0), 400, "invalid_value", f"{VIDEO}.flow_shift"),
    "an unknown format": (options(response_format="gif"), 400, "invalid_value", f"{VIDEO}.response_format"),
    "a format that is a list": (options(response_format=["url"]), 400, "invalid_value", f"{VIDEO}.response_format"),
    "an integer of 400 digits": (options(steps=10**400), 400, "invalid_value", f"{VIDEO}.steps"),
    "a seed of 2^63": ({"input": "a", "seed": 2**63}, 400, "invalid_value", "seed"),
    "a seed below zero": ({"input": "a", "seed": -1}, 400, "invalid_value", "seed"),
    "background that is text": ({"input": "a", "background": "yes"}, 400, "invalid_value", "background"),
    "options that are a list": ({"input": "a", "provider_options": []}, 400, "invalid_value", "provider_options"),
    "video that is a string": ({"input": "a", "provider_options": {"video": "x"}}, 400, "invalid_value", VIDEO),
    "metadata that is a list": ({"input": "a", "metadata": []}, 400, "invalid_value", "metadata"),
    "metadata that is deep": ({"input": "a", "metadata": {"a": {"b": 1}}}, 400, "invalid_value", "metadata.a"),
    "two last images": (
        {"model": "ends", "input": with_image("a", data_url(png()), data_url(png())), "provider_options": {"video": {"last_image": data_url(png())}}},
        400, "modality_mismatch", "input",
    ),
    "an image of five frames": ({"input": "a", "provider_options": {"image": {"num_frames": 5}}}, 400, "invalid_value", "provider_options.image.num_frames"),
    "a last image for a text model": (options(last_image=data_url(png())), 400, "modality_mismatch", "input"),
    "an http image": (
        {"model": "image", "input": with_image("a", "http://127.0.0.1:1/a.png")}, 400, "image_url_refused",
        "input[0].content[0].image_url",
    ),
    "an image URL that is a number": (
        {"model": "image", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": 3}]}]}, 400,
        "invalid_value", "input[0].content[0].image_url",
    ),
    "a data URL that is no base64": (
        {"model": "image", "input": with_image("a", "data:image/png;base64,%%%")}, 400, "invalid_image",
        "input[0].content[0].image_url",
    ),
    "an image that is text": (
        {"model": "image", "input": with_image("a", data_url(b"hello"))}, 400, "invalid_image",
        "input[0].content[0].image_url",
    ),
    "a truncated image": (
        {"model": "image", "input": with_image("a", data_url(png()[:90]))}, 400, "invalid_image",
        "input[0].content[0].image_url",
    ),
    "a header that claims 60000x60000": (
        {"model": "image", "input": with_image("a", data_url(header(60000, 60000)))}, 400, "invalid_image",
        "input[0].content[0].image_url",
    ),
    "weights that are not there": ({"model": "far", "input": "a"}, 503, "model_unavailable", ""),
    "an option with a dot": (options(**{"a.b": 5}), 400, "unknown_parameter", f"{VIDEO}.a.b"),
    "an image in a system message": (
        {"input": [{"role": "system", "content": [{"type": "input_image", "image_url": data_url(png())}]}, {"role": "user", "content": "a"}]},
        400, "invalid_value", "input[0]",
    ),
    "a model's name of 5 MB": ({"model": "a" * 5_000_000, "input": "a"}, 404, "model_not_found", "model"),
    "a data URL of escapes": (
        {"model": "image", "input": with_image("a", "data:;base64," + "%41" * 200_000)}, 400, "invalid_image",
        "input[0].content[0].image_url",
    ),
    "a stream that is text": ({"input": "a", "stream": "yes"}, 400, "invalid_value", "stream"),
}  # fmt: skip

RAW = {
    "truncated JSON": b'{"input": "a',
    "no JSON": b"hello",
    "nothing": b"",
    "an array": b"[]",
    "a number": b"3",
    "broken UTF-8": b'{"input": "\xff"}',
    "NaN": b'{"input": "a", "provider_options": {"video": {"guidance_scale": NaN}}}',
    "1e400": b'{"input": "a", "provider_options": {"video": {"guidance_scale": 1e400}}}',
    "minus infinity": b'{"seed": -Infinity}',
    "a key twice": b'{"input": "a", "input": "b"}',
    "a key twice, deep inside": b'{"input": "a", "metadata": {"a": "1", "a": "2"}}',
    "200,000 brackets": b"[" * 200_000,
    "deep objects": b'{"input":' + b'{"a":' * 50_000,
    "an integer of 5,000 digits": b'{"seed": ' + b"1" * 5000 + b"}",
    "a raw control character": b'{"input": "a\x01"}',
}


def test_a_bad_request_is_refused_by_name(client: FlaskClient, system: System, subtests: pytest.Subtests) -> None:
    for kind, (body, status, code, param) in BODIES.items():
        with subtests.test(kind=kind):
            answer = client.post("/v1/responses", data=json.dumps(body), content_type="application/json")

            error = answer.get_json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
            assert 0 < len(error["message"]) <= 4000
            assert answer.headers["x-request-id"]
            assert system.jobs.newest() == 0
            assert leftovers(system) == []


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
def test_what_is_no_json_object_is_refused(client: FlaskClient, system: System, raw: bytes) -> None:
    answer = client.post("/v1/responses", data=raw, content_type="application/json")

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_json")
    assert system.jobs.newest() == 0


@pytest.mark.parametrize("depth", range(300, 1000, 50))
def test_what_nests_deep_never_breaks_an_answer(client: FlaskClient, depth: int) -> None:
    deep = b'{"input":' + b"[" * depth + b"]" * depth + b"}"
    answer = client.post("/v1/responses", data=deep, content_type="application/json")

    assert answer.status_code == 400


def test_a_body_that_breaks_off_is_refused(client: FlaskClient, system: System) -> None:
    data = b'{"input": "a", "background": true}'
    longer = {"CONTENT_LENGTH": "900"}
    cut = client.post("/v1/responses", data=data, content_type="application/json", environ_overrides=longer)

    assert (cut.status_code, cut.get_json()["error"]["code"]) == (400, "invalid_json")
    assert system.jobs.newest() == 0


def test_a_body_over_the_limit_is_drained_and_refused(system: System) -> None:
    small = replace(system, settings=replace(system.settings, max_body_bytes=1000))
    answer = create_app(small).test_client().post("/v1/responses", json={"input": "a" * 2000})

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (413, "body_too_large")


def test_a_key_twice_among_many_is_found_at_once(client: FlaskClient) -> None:
    many = ",".join(f'"k{n}": 1' for n in range(45_000))
    started = time.thread_time()
    answer = client.post("/v1/responses", data=f'{{{many}, "k7": 2}}', content_type="application/json")

    assert "'k7' appears twice" in answer.get_json()["error"]["message"]
    assert time.thread_time() - started < 20  # pair by pair it would take minutes


def test_another_media_type_is_refused(client: FlaskClient) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", None):
        answer = client.post("/v1/responses", data='{"input": "a"}', content_type=kind)

        assert (answer.status_code, answer.get_json()["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("POST", "/", 405, "method_not_allowed"),
        ("GET", "/studio/..", 404, "not_found"),
        ("GET", "/studio/views.py", 404, "not_found"),
        ("POST", "/v1//responses", 404, "not_found"),
        ("PUT", "/v1/responses", 405, "method_not_allowed"),
        ("GET", "/v1/responses", 405, "method_not_allowed"),
        ("GET", "/v1/responses/resp_" + "0" * 32, 404, "not_found"),
        ("GET", "/v1/responses/video_" + "0" * 32, 404, "not_found"),
        ("GET", "/v1/responses/..%2f..%2fjobs.sqlite", 404, "not_found"),
        ("DELETE", "/v1/responses/resp_" + "0" * 32, 404, "not_found"),
        ("POST", "/v1/responses/resp_" + "0" * 32 + "/cancel", 404, "not_found"),
        ("GET", "/v1/videos/video_" + "0" * 32 + "/content", 404, "not_found"),
        ("GET", "/v1/videos/../content", 404, "not_found"),
        ("GET", "/v1/models/nobody", 404, "model_not_found"),
    ],
)
def test_unknown_paths_and_methods_have_the_same_errors(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.open(path, method=method)

    error = answer.get_json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert sorted(error) == ["code", "message", "param", "type"]
    assert all(isinstance(value, str) for value in error.values())


def test_a_full_queue_says_when_to_come_back(system: System, settings) -> None:
    from router.system import assemble

    full = create_app(assemble(replace(settings, max_queued=1))).test_client()
    body = {"input": "a", "background": True}
    assert full.post("/v1/responses", json=body).status_code == 200
    refused = full.post("/v1/responses", json=body)

    assert (refused.status_code, refused.get_json()["error"]["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) <= 60


def test_a_model_without_an_engine_is_unavailable(system: System, settings) -> None:
    import time

    lonely = replace(system, settings=replace(settings, engine_missing_seconds=0.05))
    client = create_app(lonely).test_client()
    time.sleep(0.1)
    refused = client.post("/v1/responses", json={"input": "a"})

    assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "model_unavailable")
    assert "framegate engine" in refused.get_json()["error"]["message"]


def test_the_message_of_a_mismatch_says_what_is_what_was_needed_and_who_would(client: FlaskClient) -> None:
    error = client.post("/v1/responses", json={"model": "image", "input": "a"}).get_json()["error"]

    assert error["message"].startswith("image is image-to-video: it needs an image, got text only.")
    assert "text, both and slow would take it; once fetched, far would" in error["message"]


def test_missing_weights_name_the_command_that_helps(client: FlaskClient) -> None:
    error = client.post("/v1/responses", json={"model": "far", "input": "a"}).get_json()["error"]

    assert "framegate pull far" in error["message"]
    assert "download: true" in error["message"]


def test_a_picture_of_one_pixel_is_a_picture(client: FlaskClient, system: System) -> None:
    body = {"model": "image", "input": with_image("a", data_url(png(1, 1))), "background": True}

    assert client.post("/v1/responses", json=body).status_code == 200
