"""Field names of other servers keep their meaning, or are named in a warning."""

import json
from typing import Any

import pytest
from conftest import data_url, png, refused, stored
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from router.system import System

VIDEO = "provider_options.video"
MEANINGS: dict[str, tuple[Any, str, Any]] = {
    "num_inference_steps": (3, "steps", 3),
    "steps": (3, "steps", 3),
    "fps": (12, "frames_per_second", 12),
    "frames_per_second": (12, "frames_per_second", 12),
    "num_frames": (9, "num_frames", 9),
    "guidance_scale": (2.5, "guidance_scale", 2.5),
    "flow_shift": (7, "flow_shift", 7.0),
    "negative_prompt": ("fog", "negative_prompt", "fog"),
    "seed": (7, "seed", 7),
}
OUT_OF_RANGE: dict[str, Any] = {
    "num_inference_steps": 0,
    "steps": 61,
    "fps": 61,
    "frames_per_second": 0,
    "num_frames": 99,
    "guidance_scale": 25,
    "guidance_scale_2": -1,
    "flow_shift": 0,
    "negative_prompt": "a" * 9000,
    "width": 0,
}


def send(client: FlaskClient, way: str, body: dict[str, Any]) -> TestResponse:
    """Send a flat body as JSON, a form, or a form's `extra_body`."""
    whole = {"model": "text", "prompt": "a", **body}
    if way == "json":
        return client.post("/v1/videos", json=whole)
    if way in ("form", "urlencoded"):
        text = {
            name: value if isinstance(value, str | tuple) else json.dumps(value)
            for name, value in whole.items()
            if value is not None
        }
        kind = "multipart/form-data" if way == "form" else "application/x-www-form-urlencoded"
        return client.post("/v1/videos", data=text, content_type=kind)
    data = {"model": "text", "prompt": "a", way: json.dumps(body)}
    return client.post("/v1/videos", data=data, content_type="multipart/form-data")


def test_a_plain_name_means_what_it_means_there(client: FlaskClient, system: System, subtests: pytest.Subtests) -> None:
    for name in MEANINGS:
        for way in ["json", "form", "urlencoded", "extra_body", "extra_params"]:
            with subtests.test(name=name, way=way):
                sent, field, meant = MEANINGS[name]
                answer = send(client, way, {name: sent})

                assert getattr(stored(system, answer).task, field) == meant
                assert answer.get_json()["warnings"] == []


@pytest.mark.parametrize("way", ["json", "form", "urlencoded", "extra_body"])
def test_width_and_height_are_the_size(client: FlaskClient, system: System, way: str) -> None:
    job = stored(system, send(client, way, {"width": 96, "height": 32}))

    assert (job.task.width, job.task.height) == (96, 32)


@pytest.mark.parametrize(
    ("body", "warned"),
    [
        ({"seconds": 5, "fps": 4, "num_frames": 9}, True),
        ({"seconds": 5, "num_frames": 9}, True),
        ({"seconds": 2, "fps": 4, "num_frames": 9}, False),  # they say the same
        ({"seconds": 5, "extra_body": {"num_frames": 9}}, True),
    ],
)
def test_a_plain_number_of_frames_wins_over_seconds(
    client: FlaskClient, system: System, body: dict[str, Any], warned: bool
) -> None:
    # as in SGLang, whose node for ComfyUI always sends seconds
    job = stored(system, client.post("/v1/videos", json={"prompt": "a", "model": "text", **body}))

    assert job.task.num_frames == 9
    assert any("seconds" in warning and "is not used" in warning for warning in job.warnings) is warned


def test_a_value_out_of_range_is_refused_by_the_caller_s_name(
    client: FlaskClient, system: System, subtests: pytest.Subtests
) -> None:
    for name in OUT_OF_RANGE:
        for way in ["json", "form", "urlencoded", "extra_body"]:
            with subtests.test(name=name, way=way):
                error = refused(send(client, way, {name: OUT_OF_RANGE[name]}), system)

                assert error["param"] == (f"extra_body.{name}" if way == "extra_body" else name)


@pytest.mark.parametrize("lacking", ["width", "height"])
def test_half_a_size_is_refused_by_the_other_half_s_name(client: FlaskClient, system: System, lacking: str) -> None:
    (said,) = {"width", "height"} - {lacking}

    assert refused(send(client, "json", {said: 64}), system)["param"] == lacking


TWICE: dict[str, tuple[dict[str, Any], str]] = {
    "two names": ({"steps": 4, "num_inference_steps": 5}, "num_inference_steps"),
    "a name and an option": ({"fps": 9, "provider_options": {"video": {"frames_per_second": 8}}}, f"{VIDEO}.frames_per_second"),
    "a size and a width": ({"size": "64x64", "width": 32}, "width"),
    "a size and a height": ({"size": "64x64", "height": 32}, "height"),
    "seconds and an option": (
        {"seconds": "1", "provider_options": {"video": {"num_frames": 5}}},
        f"{VIDEO}.num_frames",
    ),
    "two seeds": ({"seed": 1, "provider_options": {"video": {"seed": 2}}}, f"{VIDEO}.seed"),
    "two prompts": ({"extra_body": {"prompt": "b"}}, "extra_body.prompt"),
    "a name and the extra one": ({"steps": 4, "extra_body": {"num_inference_steps": 5}}, "extra_body.num_inference_steps"),
    "two extra ones": ({"extra_params": {"fps": 4}, "extra_body": {"fps": 5}}, "extra_params.fps"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "param"), TWICE.values(), ids=TWICE.keys())
def test_two_names_that_disagree_are_refused(
    client: FlaskClient, system: System, body: dict[str, Any], param: str
) -> None:
    error = refused(send(client, "json", body), system)

    assert (error["code"], error["param"]) == ("invalid_value", param)
    assert "give one of them" in error["message"]


def test_the_same_value_twice_is_fine(client: FlaskClient, system: System) -> None:
    block = {"steps": 3, "frames_per_second": 8, "num_frames": 9, "width": 64, "height": 32, "seed": 7}
    body = {
        "steps": 3, "num_inference_steps": 3.0, "fps": 8, "num_frames": 9, "seconds": "1", "size": "64x32", "width": 64,
        "height": 32, "seed": 7, "extra_body": json.dumps(block), "provider_options": {"video": block},
    }  # fmt: skip
    job = stored(system, send(client, "json", body))

    assert (job.task.steps, job.task.num_frames, job.task.width, job.task.seed) == (3, 9, 64, 7)
    assert job.warnings == ()


EXTRAS: dict[str, tuple[Any, str]] = {
    "no JSON": ("steps=3", "extra_body"),
    "a list": ("[1]", "extra_body"),
    "a number": (3, "extra_body"),
    "a key twice": ('{"steps": 3, "steps": 4}', "extra_body"),
    "NaN": ('{"guidance_scale": NaN}', "extra_body"),
    "200,000 brackets": ("[" * 200_000, "extra_body"),
    "more of itself": ({"extra_body": {"steps": 3}}, "extra_body.extra_body"),
    "an unknown option": ({"provider_options": {"video": {"frames": 3}}}, f"extra_body.{VIDEO}.frames"),
}


@pytest.mark.parametrize(("extra", "param"), EXTRAS.values(), ids=EXTRAS.keys())
def test_a_bad_extra_body_is_refused_by_name(client: FlaskClient, system: System, extra: Any, param: str) -> None:
    assert refused(send(client, "json", {"extra_body": extra}), system)["param"] == param


MISLEADING: dict[str, tuple[Any, Any]] = {  # what is fine, what is not
    "n": (1, 2),
    "num_outputs_per_prompt": (1, 4),
    "stream": (False, True),
    "background": (True, False),
    "response_format": ("url", "b64_json"),
    "lora_path": (None, "/loras/a.safetensors"),
    "lora_paths": (None, "/loras"),
    "callback_url": (None, "https://example.org/done"),
    "webhook_url": (None, "https://example.org/done"),
}


@pytest.mark.parametrize("way", ["json", "form", "urlencoded", "extra_body"])
def test_what_would_mislead_is_refused(client: FlaskClient, system: System, way: str) -> None:
    for name, (_, other) in MISLEADING.items():
        error = refused(send(client, way, {name: other}), system)

        assert error["param"].removeprefix("extra_body.") == name
        assert " must be " in error["message"]
    for name, (fine, _) in MISLEADING.items():
        answer = send(client, way, {name: fine})
        assert (name, answer.status_code, answer.get_json()["warnings"]) == (name, 200, [])


def test_what_has_no_meaning_is_named_in_one_warning(client: FlaskClient) -> None:
    body = {
        "user": "me",
        "quality": "high",
        "boundary_ratio": 0.875,
        "metadata": None,
        "extra_params": {"solver": "u"},
    }
    answer = send(client, "json", body).get_json()

    assert answer["warnings"] == [
        "not used, as nothing here has that name: user, quality, boundary_ratio, extra_params.solver"
    ]
    assert client.get(f"/v1/videos/{answer['id']}").get_json()["warnings"] == answer["warnings"]


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/responses"])
def test_a_warning_is_bounded_and_harmless_whatever_the_names_are(client: FlaskClient, path: str) -> None:
    hostile = {"\ud800": 1, "a\nb\x1b[31m": 1, "x" * 100_000: 1, "": 1, **{f"k{n}": 1 for n in range(3000)}}
    body = {"model": "text", "prompt" if path == "/v1/videos" else "input": "a", "background": True, **hostile}
    answer = client.post(path, data=json.dumps(body), content_type="application/json").get_json()

    (warning,) = answer["warnings"]
    assert len(warning) < 1500
    assert "more" in warning
    assert warning.isprintable()


def test_a_response_names_what_it_has_no_meaning_for_but_not_what_it_echoes(client: FlaskClient) -> None:
    echoed = {
        "temperature": 0.5,
        "top_p": 1,
        "metadata": {"a": "b"},
        "tools": [],
        "store": True,
        "text": {},
        "user": None,
    }
    other = {"steps": 3, "conversation": "c", "instructions": [{"role": "system", "content": "x"}]}
    body = {"model": "text", "input": "a", "background": True, **echoed}
    plain = client.post("/v1/responses", json=body).get_json()
    answer = client.post("/v1/responses", json={**body, **other}).get_json()

    assert plain["warnings"] == []
    assert answer["warnings"] == ["not used, as nothing here has that name: steps, conversation, instructions"]


def test_the_call_of_a_function_warns_too(client: FlaskClient) -> None:
    body = {"model": "text", "input": "a", "tools": [{"type": "function", "name": "f"}], "whatever": 1}
    answer = client.post("/v1/responses", json=body).get_json()

    assert answer["output"][0]["type"] == "function_call"
    assert answer["warnings"] == ["not used, as nothing here has that name: whatever"]


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/responses"])
@pytest.mark.parametrize("block", ["vidoe", "videos", "Video", "imgae", "images", "IMAGE", "vide"])
def test_a_block_that_is_nearly_ours_is_refused(client: FlaskClient, system: System, path: str, block: str) -> None:
    body = {
        "model": "text",
        "prompt" if path == "/v1/videos" else "input": "a",
        "provider_options": {block: {"steps": 3}},
    }
    error = refused(client.post(path, json=body), system)

    assert (error["code"], error["param"]) == ("unknown_parameter", f"provider_options.{block}")
    assert "did you mean" in error["message"]


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/responses"])
def test_a_block_of_another_provider_is_named(client: FlaskClient, path: str) -> None:
    body = {"model": "text", "prompt" if path == "/v1/videos" else "input": "a", "background": True}
    blocks = {"openai": {"a": 1}, "fal": {}, "google": None, "video": {"steps": 3}}
    answer = client.post(path, json={**body, "provider_options": blocks}).get_json()

    (warning,) = answer["warnings"]
    assert "provider_options.openai, provider_options.fal" in warning
    assert "google" not in warning


def test_two_blocks_are_refused(client: FlaskClient, system: System) -> None:
    for image in ({}, {"last_image": 3}, {"last_image": data_url(png())}):
        body = {"model": "text", "input": "a", "provider_options": {"video": {"steps": 3}, "image": image}}
        error = refused(client.post("/v1/responses", json=body), system)

        assert error["param"] == "provider_options.image"


def test_two_seeds_of_a_response_are_refused(client: FlaskClient, system: System) -> None:
    body = {"model": "text", "input": "a", "seed": 1, "provider_options": {"video": {"seed": 2}}}

    assert refused(client.post("/v1/responses", json=body), system)["param"] == f"{VIDEO}.seed"


def test_a_remix_names_what_it_does_not_use(client: FlaskClient) -> None:
    source = send(client, "json", {}).get_json()
    answer = client.post(f"/v1/videos/{source['id']}/remix", json={"prompt": "b", "user": "me", "n": 1}).get_json()

    assert answer["warnings"] == ["not used, as nothing here has that name: user"]
