"""The Videos API from request to answer, with the `still` backend."""

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import data_url, leftovers, png, with_image
from flask.testing import FlaskClient
from support.patience import until, watch
from werkzeug.test import TestResponse

from router.engine.worker import Worker
from router.jobs import ClaimRequest
from router.system import System, assemble
from router.values import Failure, Job, Phase, Progress, Status
from router.web import create_app
from router.web.videos.answers import poll_after_ms

VIDEO = "provider_options.video"
TYPES: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "object": str,
    "model": str,
    "status": str,
    "progress": int,
    "created_at": int,
    "completed_at": (int, type(None)),
    "expires_at": (int, type(None)),
    "prompt": str,
    "size": str,
    "seconds": str,
    "remixed_from_video_id": (str, type(None)),
    "error": (dict, type(None)),
}


def make(client: FlaskClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/videos", json={"prompt": "a", **body})
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()


File = tuple[bytes, str, str]


def upload(data: bytes | None = None, name: str = "a.png", kind: str = "image/png") -> File:
    return png() if data is None else data, name, kind


def post_form(client: FlaskClient, form: dict[str, Any], path: str = "/v1/videos", **headers: str) -> TestResponse:
    def sent(value: Any) -> Any:
        return (io.BytesIO(value[0]), *value[1:]) if isinstance(value, tuple) else value

    data = {
        name: [sent(one) for one in value] if isinstance(value, list) else sent(value) for name, value in form.items()
    }
    return client.post(path, data=data, content_type="multipart/form-data", headers=headers)


def look(client: FlaskClient, video: dict[str, Any]) -> dict[str, Any]:
    return client.get(f"/v1/videos/{video['id']}").get_json()


def finished(client: FlaskClient, video: dict[str, Any]) -> dict[str, Any]:
    until(lambda: look(client, video)["status"] not in ("queued", "in_progress"))
    return look(client, video)


def stored(system: System, video: dict[str, Any]) -> Job:
    job = system.jobs.get(video["id"].removeprefix("video_"), "local")
    assert job is not None
    return job


def content(client: FlaskClient, video: dict[str, Any], **query: str) -> TestResponse:
    return client.get(f"/v1/videos/{video['id']}/content", query_string=query)


@pytest.fixture
def running(client: FlaskClient, worker: Worker) -> dict[str, Any]:
    """Return a job that an engine is working on."""
    video = make(client, model="slow", provider_options={"video": {"steps": 60}})
    until(lambda: look(client, video)["progress"] >= 5)
    return video


def test_text_becomes_a_video(client: FlaskClient, worker: Worker) -> None:
    made = make(client, model="text", prompt="a red ball", seconds="1", size="64x32", seed=3)
    done = finished(client, made)
    file = content(client, done)

    assert (made["status"], made["seed"], made["remixed_from_video_id"]) == ("queued", 3, None)
    assert (done["status"], done["progress"], done["seconds"], done["size"]) == ("completed", 100, "1", "64x32")
    assert done["provider_options"]["video"]["num_frames"] == 9
    assert (file.mimetype, file.data[4:8]) == ("video/mp4", b"ftyp")


def test_the_13_keys_are_there_with_their_types_in_every_state(client: FlaskClient, system: System) -> None:
    made = [make(client) for _ in range(4)]
    client.post(f"/v1/responses/{made[0]['id'].replace('video', 'resp')}/cancel")
    claims = [system.jobs.claim("e", ClaimRequest(["text"])) for _ in range(2)]
    assert claims[0]
    assert claims[1]
    system.jobs.fail(claims[0][0], Failure("out_of_memory", "too large"))
    system.jobs.report(claims[1][0], Progress(Phase.STEP, 1, 4, 25))
    videos = [look(client, video) for video in made]

    assert [video["status"] for video in videos] == ["failed", "failed", "in_progress", "queued"]
    assert [video["error"] and video["error"]["code"] for video in videos] == ["cancelled", "out_of_memory", None, None]
    assert [video["progress"] for video in videos] == [0, 0, 25, 0]
    assert [video.get("queue_position") for video in videos] == [None, None, None, 1]
    for video in videos:
        assert {key: isinstance(video[key], kind) for key, kind in TYPES.items()} == dict.fromkeys(TYPES, True)


FIELDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"prompt": "a", "seed": "7"}, {"prompt": "a", "seed": 7}),
    ({"prompt": "a", "seconds": "2", "size": "32x64"}, {"prompt": "a", "seconds": "2", "size": "32x64"}),
    ({"prompt": "a", "seconds": "2.5"}, {"prompt": "a", "seconds": 2.5}),
    (
        {
            "prompt": "é 🎈",
            "model": "text",
            "provider_options[video][seed]": "5",
            "provider_options[video][guidance_scale]": "3",
            "provider_options[video][negative_prompt]": "7",
            "provider_options[video][steps]": "3",
            "provider_options[video][cfg_normalization]": "true",
            "user[]": ["a", "b"],
        },
        {
            "prompt": "é 🎈",
            "model": "text",
            "provider_options": {
                "video": {"seed": 5, "guidance_scale": 3, "negative_prompt": "7", "steps": 3, "cfg_normalization": True}
            },
            "user": ["a", "b"],
        },
    ),
    (
        {"prompt": "a", "model": "image", "input_reference[image_url]": data_url(png())},
        {"prompt": "a", "model": "image", "input_reference": {"image_url": data_url(png())}},
    ),
]


@pytest.mark.parametrize(("form", "body"), FIELDS)
def test_a_form_and_its_json_make_the_same_job(
    client: FlaskClient, system: System, form: dict[str, Any], body: dict[str, Any]
) -> None:
    seed = {} if "seed" in str(body) else {"seed": 1}
    jobs = [
        stored(system, answer.get_json())
        for answer in (
            post_form(client, {**form, **seed}),
            client.post("/v1/videos", json={**body, **seed}),
        )
    ]

    assert jobs[0].task == jobs[1].task
    assert (jobs[0].model, jobs[0].inputs, jobs[0].presentation) == (
        jobs[1].model,
        jobs[1].inputs,
        jobs[1].presentation,
    )


def test_an_image_is_the_same_in_whichever_way_it_comes(client: FlaskClient, system: System) -> None:
    url = data_url(png(96, 64))
    answers = [
        post_form(client, {"prompt": "a", "input_reference": upload(png(96, 64), "/home/me/a.mp4", "image/heic")}),
        post_form(
            client, {"prompt": "a", "input_reference": upload(png(96, 64), "upload", "application/octet-stream")}
        ),
        client.post("/v1/videos", json={"prompt": "a", "input_reference": {"image_url": url}}),
        client.post("/v1/videos", json={"prompt": "a", "input_reference": {"image_url": {"url": url}}}),
        client.post("/v1/videos", json={"prompt": "a", "input_reference": url}),
    ]
    jobs = [stored(system, answer.get_json()) for answer in answers]

    assert {(job.model, job.inputs, job.task.width, job.task.height) for job in jobs} == {
        ("image", jobs[0].inputs, jobs[0].task.width, jobs[0].task.height)
    }
    assert jobs[0].inputs[0].media_type == "image/png"
    assert jobs[0].task.width > jobs[0].task.height


def test_a_last_image_may_be_a_file(client: FlaskClient, system: System) -> None:
    form = {"prompt": "a", "model": "ends", "input_reference": upload(), form_name("last_image"): upload(png(32, 32))}
    made = post_form(client, form).get_json()

    assert [one.role for one in stored(system, made).inputs] == ["image", "last_image"]


def form_name(option: str) -> str:
    return f"provider_options[video][{option}]"


@pytest.mark.parametrize(
    ("seconds", "rate", "frames", "shown"),
    [
        ("4", None, 33, "4"),
        (4, None, 33, "4"),
        (4.0, None, 33, "4"),
        ("1.5", None, 13, "1.5"),
        ("0.1", None, 5, "0.1"),
        ("2", 24, 49, "2"),
        ("1", 30, 29, "1"),
        (None, None, 5, "0.625"),
        (None, 60, 5, "0.0833"),
    ],
)
def test_seconds_times_the_rate_are_the_frames(
    client: FlaskClient, seconds: object, rate: int | None, frames: int, shown: str
) -> None:
    made = make(client, seconds=seconds, provider_options={"video": {"frames_per_second": rate}})

    assert (made["provider_options"]["video"]["num_frames"], made["seconds"]) == (frames, shown)


def test_seconds_that_come_out_otherwise_are_a_warning(client: FlaskClient) -> None:
    made = make(client, seconds="0.1")

    assert made["warnings"] == ["seconds 0.1 at 8 a second was made 5 frames: the model takes 4k+1"]
    assert make(client, seconds="4")["warnings"] == []  # 32 made 33 is what everybody gets


def test_what_an_answer_shows_can_be_sent_back(client: FlaskClient, system: System) -> None:
    for body in (
        {"seconds": "1"},
        {"provider_options": {"video": {"frames_per_second": 7, "width": 32, "height": 48}}},
    ):
        first = make(client, **body)
        again = make(client, **{key: first[key] for key in ("model", "seconds", "size", "seed", "provider_options")})

        assert stored(system, first).task == stored(system, again).task


BODIES: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no prompt": ({}, 400, "missing_required_parameter", "prompt"),
    "null prompt": ({"prompt": None}, 400, "missing_required_parameter", "prompt"),
    "a blank prompt": ({"prompt": " \n"}, 400, "missing_required_parameter", "prompt"),
    "a prompt that is a number": ({"prompt": 3}, 400, "invalid_value", "prompt"),
    "a control character": ({"prompt": "a\0"}, 400, "invalid_value", "prompt"),
    "a prompt of 9,000": ({"prompt": "a" * 9000}, 400, "limit_exceeded", "prompt"),
    "an empty model": ({"prompt": "a", "model": ""}, 400, "invalid_value", "model"),
    "an unknown model": ({"prompt": "a", "model": "sora-2"}, 404, "model_not_found", "model"),
    "text for an image model": ({"prompt": "a", "model": "image"}, 400, "modality_mismatch", "input_reference"),
    "an image for a text model": (
        {"prompt": "a", "model": "text", "input_reference": {"image_url": data_url(png())}}, 400, "modality_mismatch", "input_reference",
    ),
    "a file id": ({"prompt": "a", "input_reference": {"file_id": "file-1"}}, 400, "invalid_value", "input_reference.file_id"),
    "a file id beside an image": (
        {"prompt": "a", "input_reference": {"file_id": "file-1", "image_url": data_url(png())}}, 400, "invalid_value", "input_reference.file_id",
    ),
    "an image of nothing": ({"prompt": "a", "input_reference": {}}, 400, "invalid_value", "input_reference"),
    "an image that is a number": ({"prompt": "a", "input_reference": 3}, 400, "invalid_value", "input_reference"),
    "an image that is a list": ({"prompt": "a", "input_reference": [data_url(png())]}, 400, "invalid_value", "input_reference"),
    "an image that is text": ({"prompt": "a", "input_reference": {"image_url": data_url(b"text")}}, 400, "invalid_image", "input_reference"),
    "a broken image": ({"prompt": "a", "input_reference": {"image_url": data_url(png()[:90])}}, 400, "invalid_image", "input_reference"),
    "seconds of text": ({"prompt": "a", "seconds": "four"}, 400, "invalid_value", "seconds"),
    "no seconds": ({"prompt": "a", "seconds": 0}, 400, "invalid_value", "seconds"),
    "seconds below zero": ({"prompt": "a", "seconds": "-1"}, 400, "invalid_value", "seconds"),
    "seconds that are true": ({"prompt": "a", "seconds": True}, 400, "invalid_value", "seconds"),
    "NaN seconds": ({"prompt": "a", "seconds": "NaN"}, 400, "invalid_value", "seconds"),
    "endless seconds": ({"prompt": "a", "seconds": "1e999"}, 400, "invalid_value", "seconds"),
    "too many seconds": ({"prompt": "a", "seconds": "60"}, 400, "limit_exceeded", "seconds"),
    "too many seconds at this rate": (
        {"prompt": "a", "seconds": "4", "provider_options": {"video": {"frames_per_second": 60}}}, 400, "limit_exceeded", "seconds",
    ),
    "seconds against frames": (
        {"prompt": "a", "seconds": "1", "provider_options": {"video": {"num_frames": 5}}}, 400, "invalid_value", f"{VIDEO}.num_frames",
    ),
    "too many frames": ({"prompt": "a", "provider_options": {"video": {"num_frames": 99}}}, 400, "limit_exceeded", f"{VIDEO}.num_frames"),
    "a size in words": ({"prompt": "a", "size": "large"}, 400, "invalid_value", "size"),
    "half a size": ({"prompt": "a", "size": "64x"}, 400, "invalid_value", "size"),
    "a size of none": ({"prompt": "a", "size": "0x64"}, 400, "invalid_value", "size"),
    "a size of ten digits": ({"prompt": "a", "size": "9999999999x64"}, 400, "invalid_value", "size"),
    "a size in other digits": ({"prompt": "a", "size": "٦٤x64"}, 400, "invalid_value", "size"),
    "a size below the multiple": ({"prompt": "a", "size": "64x8"}, 400, "invalid_value", "size"),
    "too large a size": ({"prompt": "a", "size": "1280x720"}, 400, "limit_exceeded", "size"),
    "size against width": (
        {"prompt": "a", "size": "64x64", "provider_options": {"video": {"width": 32}}}, 400, "invalid_value", f"{VIDEO}.width",
    ),
    "size against height": (
        {"prompt": "a", "size": "64x64", "provider_options": {"video": {"height": 32}}}, 400, "invalid_value", f"{VIDEO}.height",
    ),
    "a width without a height": ({"prompt": "a", "provider_options": {"video": {"width": 64}}}, 400, "invalid_value", f"{VIDEO}.height"),
    "a seed of 2^63": ({"prompt": "a", "seed": 2**63}, 400, "invalid_value", "seed"),
    "text for a seed": ({"prompt": "a", "seed": "7"}, 400, "invalid_value", "seed"),
    "an unknown option": ({"prompt": "a", "provider_options": {"video": {"frames": 5}}}, 400, "unknown_parameter", f"{VIDEO}.frames"),
    "options for an image": ({"prompt": "a", "provider_options": {"image": {}}}, 400, "invalid_value", "provider_options.image"),
    "base64": ({"prompt": "a", "provider_options": {"video": {"response_format": "b64_json"}}}, 400, "invalid_value", f"{VIDEO}.response_format"),
    "weights that are not there": ({"prompt": "a", "model": "far"}, 503, "model_unavailable", ""),
}  # fmt: skip


def assert_refused(answer: TestResponse, system: System, status: int, code: str, param: str) -> None:
    error = answer.get_json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert {type(value) for value in error.values()} == {str}
    assert answer.headers["x-request-id"]
    assert system.jobs.newest() == 0
    assert leftovers(system) == []


def test_a_bad_request_is_refused_by_name(client: FlaskClient, system: System, subtests: pytest.Subtests) -> None:
    for kind, (body, status, code, param) in BODIES.items():
        with subtests.test(kind=kind):
            assert_refused(client.post("/v1/videos", json=body), system, status, code, param)


FORMS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no prompt": ({"model": "text"}, 400, "missing_required_parameter", "prompt"),
    "a prompt that is a file": ({"prompt": upload(b"a cat")}, 400, "invalid_value", "prompt"),
    "an unknown option": ({"prompt": "a", form_name("frames"): "5"}, 400, "unknown_parameter", f"{VIDEO}.frames"),
    "an option that is a list": ({"prompt": "a", form_name("steps") + "[]": "5"}, 400, "invalid_value", f"{VIDEO}.steps"),
    "options that are text": ({"prompt": "a", "provider_options": "5"}, 400, "invalid_value", "provider_options"),
    "a broken number": ({"prompt": "a", form_name("steps"): "8.5"}, 400, "invalid_value", f"{VIDEO}.steps"),
    "a seed that is twice there": ({"prompt": "a", "seed": ["1", "2"]}, 400, "invalid_form", "seed"),
    "an image for a text model": ({"prompt": "a", "model": "text", "input_reference": upload()}, 400, "modality_mismatch", "input_reference"),
    "an mp4 that says it is a PNG": ({"prompt": "a", "input_reference": upload(b"\0\0\0\x18ftypmp42")}, 400, "invalid_image", "input_reference"),
    "an image of no bytes": ({"prompt": "a", "input_reference": upload(b"")}, 400, "invalid_image", "input_reference"),
    "a truncated image": ({"prompt": "a", "input_reference": upload(png()[:90])}, 400, "invalid_image", "input_reference"),
    "an image under another name": ({"prompt": "a", "mask": upload()}, 400, "unknown_parameter", "mask"),
    "a list of images": ({"prompt": "a", "input_reference[]": [upload(), upload()]}, 400, "invalid_value", "input_reference"),
    "two images": ({"prompt": "a", "input_reference": [upload(), upload()]}, 400, "invalid_form", "input_reference"),
    "a file id": ({"prompt": "a", "input_reference[file_id]": "file-1"}, 400, "invalid_value", "input_reference.file_id"),
}  # fmt: skip


@pytest.mark.parametrize(("form", "status", "code", "param"), FORMS.values(), ids=FORMS.keys())
def test_a_bad_form_is_refused_by_name(
    client: FlaskClient, system: System, form: dict[str, Any], status: int, code: str, param: str
) -> None:
    assert_refused(post_form(client, form), system, status, code, param)


def test_a_form_from_another_sites_page_makes_nothing(client: FlaskClient, system: System) -> None:
    answer = post_form(client, {"prompt": "a"}, origin="https://evil.example")

    assert_refused(answer, system, 403, "refused", "")


def test_a_form_over_the_limit_is_refused(system: System) -> None:
    small = replace(system, settings=replace(system.settings, max_body_bytes=1000))
    answer = post_form(create_app(small).test_client(), {"prompt": "a", "input_reference": upload(b"x" * 2000)})

    assert_refused(answer, system, 413, "body_too_large", "")


def test_a_form_that_breaks_off_is_refused(client: FlaskClient, system: System) -> None:
    data = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na cat'
    for length in (len(data), 900):
        answer = client.post(
            "/v1/videos",
            data=data,
            content_type="multipart/form-data; boundary=b",
            environ_overrides={"CONTENT_LENGTH": str(length)},
        )
        assert_refused(answer, system, 400, "invalid_form", "")


def test_another_media_type_is_refused(client: FlaskClient, system: System) -> None:
    for kind in ("text/plain", "multipart/mixed; boundary=b", None):
        answer = client.post("/v1/videos", data=b"prompt=a", content_type=kind)
        assert_refused(answer, system, 415, "unsupported_media_type", "")


def test_a_list_has_the_newest_first_and_pages_by_the_last_id(client: FlaskClient) -> None:
    made = [make(client)["id"] for _ in range(25)]
    first = client.get("/v1/videos").get_json()
    second = client.get("/v1/videos", query_string={"after": first["last_id"]}).get_json()
    whole = client.get("/v1/videos?limit=100&order=asc").get_json()

    assert [video["id"] for video in first["data"] + second["data"]] == made[::-1]
    assert (first["object"], first["has_more"], second["has_more"]) == ("list", True, False)
    assert (first["first_id"], first["last_id"], second["last_id"]) == (made[24], made[5], made[0])
    assert [video["id"] for video in whole["data"]] == made
    assert whole["data"][-1] == look(client, {"id": made[24]})


def test_a_list_may_be_empty(client: FlaskClient) -> None:
    empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert client.get("/v1/videos").get_json() == empty
    made = make(client)

    assert client.get("/v1/videos?limit=0").get_json() == {**empty, "has_more": True}
    assert client.get(f"/v1/videos?after={made['id']}").get_json() == empty


def test_whoever_deletes_what_a_page_shows_comes_to_the_end(client: FlaskClient) -> None:
    for _ in range(7):
        make(client)
    seen, after = 0, {}
    while page := client.get("/v1/videos", query_string={"limit": 3, **after}).get_json()["data"]:
        after = {"after": page[-1]["id"]}
        seen += len(page)
        for video in page:
            client.delete(f"/v1/videos/{video['id']}")

    assert seen == 7


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("limit=-1", 400, "limit"),
        ("limit=101", 400, "limit"),
        ("limit=x", 400, "limit"),
        ("limit=", 400, "limit"),
        ("limit=1.0", 400, "limit"),
        ("order=up", 400, "order"),
        ("after=video_" + "0" * 32, 404, "after"),
        ("after=x", 404, "after"),
        ("after=resp_" + "0" * 32, 404, "after"),
        ("after=%00%ff", 404, "after"),
    ],
)
def test_a_bad_page_is_refused_by_name(client: FlaskClient, query: str, status: int, param: str) -> None:
    answer = client.get(f"/v1/videos?{query}")

    assert (answer.status_code, answer.get_json()["error"]["param"]) == (status, param)


def test_what_one_dialect_makes_the_other_knows(client: FlaskClient, system: System, worker: Worker) -> None:
    video = finished(client, make(client, model="both", seconds=1, input_reference={"image_url": data_url(png())}))
    response = client.get(f"/v1/responses/{video['id'].replace('video', 'resp')}").get_json()
    asked = client.post("/v1/responses", json={"model": "both", "input": with_image("b", data_url(png())), "seed": 4})
    other = look(client, {"id": asked.get_json()["id"].replace("resp", "video")})

    assert asked.get_json().keys() <= response.keys()
    assert (response["background"], response["store"], response["metadata"]) == (True, True, {})
    part = response["output"][0]["content"][0]
    assert (part["type"], part["video_url"]) == ("output_video", f"/v1/videos/{video['id']}/content")
    assert response["provider_options"] == video["provider_options"]
    assert (other["prompt"], other["seed"], other["seconds"], other["status"]) == ("b", 4, "0.625", "completed")
    assert [one["id"] for one in client.get("/v1/videos").get_json()["data"]] == [other["id"], video["id"]]


def test_a_single_image_is_a_video_of_one_frame_whose_content_is_a_png(client: FlaskClient, worker: Worker) -> None:
    made = client.post("/v1/responses", json={"input": "a", "provider_options": {"image": {}}}).get_json()
    video = look(client, {"id": made["id"].replace("resp", "video")})
    here = finished(client, make(client, provider_options={"video": {"num_frames": 1}}))

    assert video["seconds"] == "0.125"
    for one in (video, here):
        assert content(client, one).data.startswith(b"\x89PNG")
        assert content(client, one, variant="thumbnail").mimetype == "image/webp"
        last = cv2.imdecode(np.frombuffer(content(client, one, variant="last_frame").data, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(last, cv2.imdecode(np.frombuffer(content(client, one).data, np.uint8), cv2.IMREAD_COLOR))
        assert client.get(f"/v1/images/{one['id'].replace('video', 'image')}/content").mimetype == "image/png"


def test_a_video_is_no_image(client: FlaskClient, worker: Worker) -> None:
    video = finished(client, make(client))
    answer = client.get(f"/v1/images/{video['id'].replace('video', 'image')}/content")

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_ready")
    assert f"/v1/videos/{video['id']}/content" in answer.get_json()["error"]["message"]


def test_an_unfinished_video_says_when_to_ask_again(
    client: FlaskClient, system: System, running: dict[str, Any]
) -> None:
    behind = [make(client, model="slow") for _ in range(3)]
    waits = [client.get(f"/v1/videos/{video['id']}").headers["openai-poll-after-ms"] for video in (running, *behind)]
    client.delete(f"/v1/videos/{running['id']}")
    done = finished(client, behind[0])

    assert [int(wait) for wait in waits[1:]] == [1000, 2000, 3000]
    assert 500 <= int(waits[0]) <= 5000
    assert "openai-poll-after-ms" not in client.get(f"/v1/videos/{done['id']}").headers


@pytest.mark.parametrize(
    ("phase", "percent", "took", "wait"),
    [
        (Phase.LOAD, 0, 60, 1000),
        (Phase.STEP, 50, 20, 2000),
        (Phase.STEP, 90, 90, 1000),
        (Phase.STEP, 99, 10, 500),
        (Phase.STEP, 1, 600, 5000),
        (Phase.STEP, 0, 0, 500),
        (Phase.STEP, 0, -9, 500),
    ],
)
def test_the_wait_is_a_tenth_of_what_is_left(
    client: FlaskClient, system: System, phase: Phase, percent: int, took: float, wait: int
) -> None:
    job = replace(
        stored(system, make(client)),
        status=Status.IN_PROGRESS,
        ahead=None,
        progress=Progress(phase, 1, 4, percent),
        started_at=1000.0,
    )

    assert poll_after_ms(job, 1000.0 + took) == wait


def test_delete_leaves_nothing_behind(client: FlaskClient, system: System, worker: Worker) -> None:
    made = finished(client, make(client, model="both", input_reference={"image_url": data_url(png())}))
    for variant in ("thumbnail", "spritesheet", "last_frame"):
        assert content(client, made, variant=variant).status_code == 200
    assert len(leftovers(system)) == 5
    answer = client.delete(f"/v1/videos/{made['id']}", content_type="application/json")

    assert answer.get_json() == {"id": made["id"], "object": "video.deleted", "deleted": True}
    assert leftovers(system) == []
    for again in (client.get, client.delete):
        assert again(f"/v1/videos/{made['id']}").get_json()["error"]["code"] == "not_found"


def test_a_damaged_file_has_no_pictures_and_says_so(client: FlaskClient, system: System, worker: Worker) -> None:
    made = finished(client, make(client))
    (path,) = leftovers(system)
    path.write_bytes(bytes(path.stat().st_size))
    for variant in ("thumbnail", "spritesheet", "last_frame"):
        answer = content(client, made, variant=variant)
        assert (answer.status_code, answer.headers["x-should-retry"]) == (404, "false")
        assert answer.get_json()["error"]["code"] == "not_ready"
        assert "was completed, but its file is damaged" in answer.get_json()["error"]["message"]
    assert leftovers(system) == [path]


def test_deleting_a_running_video_stops_the_device(
    client: FlaskClient, system: System, worker: Worker, running: dict[str, Any]
) -> None:
    with watch() as took:
        client.delete(f"/v1/videos/{running['id']}")
        finished(client, make(client, model="text"))

    assert took.seconds < 2  # of the three seconds that it would have taken
    assert [path for path in leftovers(system) if running["id"][6:] in str(path)] == []


PICTURES = {
    "thumbnail": ("image/webp", b"RIFF", (64, 64)),
    "spritesheet": ("image/jpeg", b"\xff\xd8\xff", (64, 320)),
    "last_frame": ("image/png", b"\x89PNG", (64, 64)),
}


@pytest.mark.parametrize(("variant", "kind", "start", "shape"), [(name, *rest) for name, rest in PICTURES.items()])
def test_a_finished_video_has_small_pictures(
    client: FlaskClient, system: System, worker: Worker, variant: str, kind: str, start: bytes, shape: tuple[int, int]
) -> None:
    video = finished(client, make(client))
    url = f"/v1/videos/{video['id']}/content?variant={variant}"
    head, whole = client.head(url), client.get(url)
    picture = cv2.imdecode(np.frombuffer(whole.data, np.uint8), cv2.IMREAD_COLOR)

    assert (whole.mimetype, whole.data[: len(start)]) == (kind, start)
    assert np.asarray(picture).shape[:2] == shape
    assert (head.data, head.headers["content-length"]) == (b"", str(len(whole.data)))
    assert whole.headers["etag"] != content(client, video).headers["etag"]
    assert client.get(url, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    assert client.get(url, headers={"range": "bytes=0-2"}).data == whole.data[:3]
    assert len(leftovers(system)) == 2


def test_a_video_goes_on_from_its_last_frame(client: FlaskClient, worker: Worker) -> None:
    first = finished(client, make(client, model="text", size="96x64"))
    frame = content(client, first, variant="last_frame").data
    second = make(client, model="both", size="96x64", input_reference={"image_url": data_url(frame)})

    assert second["warnings"] == []
    assert second["images"] == [{"role": "image", "width": 96, "height": 64}]


def test_a_video_says_how_large_its_images_were(client: FlaskClient, system: System) -> None:
    assert make(client)["images"] == []
    form = {"prompt": "a", "model": "ends", "input_reference": upload(png(96, 32)), form_name("last_image"): upload()}
    made = post_form(client, form).get_json()
    remixed = client.post(f"/v1/videos/{made['id']}/remix", json={"prompt": "b"}).get_json()

    assert made["images"] == remixed["images"] == look(client, made)["images"]
    assert made["images"] == [
        {"role": "image", "width": 96, "height": 32},
        {"role": "last_image", "width": 64, "height": 64},
    ]
    old = stored(system, made)
    unmeasured = replace(old, id="0" * 32, inputs=(replace(old.inputs[0], width=0, height=0),))
    system.jobs.add(unmeasured)
    assert look(client, {"id": f"video_{unmeasured.id}"})["images"] == [
        {"role": "image", "width": None, "height": None}
    ]


def test_many_who_ask_at_once_get_the_same_picture(client: FlaskClient, system: System, worker: Worker) -> None:
    video = finished(client, make(client, seconds=4))
    app = client.application

    def ask(_: int) -> tuple[int, bytes]:
        answer = app.test_client().get(f"/v1/videos/{video['id']}/content?variant=spritesheet")
        return answer.status_code, answer.data

    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(ask, range(32)))

    assert [status for status, _ in answers] == [200]
    assert len(leftovers(system)) == 2


def test_a_picture_of_what_is_deleted_meanwhile_stays_nowhere(
    client: FlaskClient, system: System, worker: Worker
) -> None:
    app = client.application
    for _ in range(15):
        video = finished(client, make(client))
        with ThreadPoolExecutor(4) as pool:
            asked = [
                pool.submit(
                    lambda one=video: app.test_client().get(f"/v1/videos/{one['id']}/content?variant=spritesheet")
                )
                for _ in range(3)
            ]
            time.sleep(0.002)
            app.test_client().delete(f"/v1/videos/{video['id']}")
        assert {answer.result().status_code for answer in asked} <= {200, 404}

    assert leftovers(system) == []


def test_a_running_video_has_a_preview_and_no_other_has(
    client: FlaskClient, worker: Worker, running: dict[str, Any]
) -> None:
    behind = make(client)
    preview = content(client, running, variant="preview")
    client.post(f"/v1/responses/{running['id'].replace('video', 'resp')}/cancel")

    assert (preview.mimetype, preview.data[:2]) == ("image/jpeg", b"\xff\xd8")
    assert preview.headers["cache-control"] == "no-store"
    for video in (running, finished(client, behind)):
        answer = content(client, video, variant="preview")
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_ready")


def test_pictures_are_not_ready_before_their_time(client: FlaskClient) -> None:
    made = make(client)
    for variant in ("video", "thumbnail", "spritesheet", "last_frame", "preview"):
        answer = content(client, made, variant=variant)

        assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_ready")
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("variant", ["gif", "", "VIDEO"])
def test_an_unknown_variant_is_refused(client: FlaskClient, variant: str) -> None:
    error = content(client, make(client), variant=variant).get_json()["error"]

    assert (error["code"], error["param"]) == ("invalid_value", "variant")
    assert "video, thumbnail, spritesheet, last_frame" in error["message"]


Send = Callable[[FlaskClient, str, dict[str, str]], TestResponse]
WAYS: dict[str, Send] = {
    "json": lambda client, path, body: client.post(path, json=body),
    "form": lambda client, path, body: post_form(client, body, path),
}


@pytest.mark.parametrize("send", WAYS.values(), ids=WAYS.keys())
def test_a_remix_has_all_of_its_source_but_the_prompt(
    client: FlaskClient, system: System, worker: Worker, send: Send
) -> None:
    options = {"frames_per_second": 9, "steps": 3, "guidance_scale": 2.5, "flow_shift": 7.5, "negative_prompt": "fog"}
    picture = {"image_url": data_url(png(96, 48))}
    source = make(client, model="any", seconds="1", input_reference=picture, provider_options={"video": options})
    remix = send(client, f"/v1/videos/{source['id']}/remix", {"prompt": "b"}).get_json()
    jobs = [stored(system, video) for video in (source, remix)]

    assert remix["remixed_from_video_id"] == source["id"]
    assert (remix["prompt"], remix["model"], remix["seconds"]) == ("b", "image", "1")
    assert jobs[1].task == replace(jobs[0].task, prompt="b")
    assert jobs[1].inputs == jobs[0].inputs
    assert remix["provider_options"] == source["provider_options"]
    client.delete(f"/v1/videos/{source['id']}")
    assert finished(client, remix)["status"] == "completed"
    assert system.artifacts.read_input(jobs[1].id, "0") == png(96, 48)


def test_a_remix_with_the_same_prompt_is_the_same_video(client: FlaskClient, worker: Worker) -> None:
    source = client.post("/v1/responses", json={"input": "a cat", "model": "text"}).get_json()
    source["id"] = source["id"].replace("resp", "video")
    remixes = [source]
    for _ in range(2):  # a remix of a remix, too
        remixes.append(
            finished(client, client.post(f"/v1/videos/{remixes[-1]['id']}/remix", json={"prompt": "a cat"}).get_json())
        )

    assert len({content(client, video).data for video in remixes}) == 1
    assert remixes[2]["remixed_from_video_id"] == remixes[1]["id"]


def test_a_first_and_a_last_image_are_remixed_both(client: FlaskClient, system: System) -> None:
    body = {"model": "ends", "input": with_image("a", data_url(png()), data_url(png(32, 32))), "background": True}
    source = client.post("/v1/responses", json=body).get_json()
    remix = client.post(f"/v1/videos/{source['id'].replace('resp', 'video')}/remix", json={"prompt": "b"}).get_json()

    assert [one.role for one in stored(system, remix).inputs] == ["image", "last_image"]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "prompt"),
        ({"prompt": ""}, "missing_required_parameter", "prompt"),
        ({"prompt": "a" * 9000}, "limit_exceeded", "prompt"),
        ({"prompt": "b", "seed": 3}, "invalid_value", "seed"),
        ({"prompt": "b", "seconds": "3"}, "invalid_value", "seconds"),
        ({"prompt": "b", "model": "text"}, "invalid_value", "model"),
        ({"prompt": "b", "provider_options": {"video": {}}}, "invalid_value", "provider_options"),
    ],
)
def test_a_bad_remix_is_refused_by_name(
    client: FlaskClient, system: System, body: dict[str, Any], code: str, param: str
) -> None:
    source = make(client)
    before = system.jobs.newest()
    error = client.post(f"/v1/videos/{source['id']}/remix", json=body).get_json()["error"]

    assert (error["code"], error["param"]) == (code, param)
    assert system.jobs.newest() == before


def test_nulls_and_unknown_keys_of_a_remix_are_read_over(client: FlaskClient) -> None:
    body = {"prompt": "b", "seed": None, "user": "me"}

    assert client.post(f"/v1/videos/{make(client)['id']}/remix", json=body).status_code == 200


def test_a_model_that_is_gone_remixes_nothing(client: FlaskClient, system: System) -> None:
    source = make(client, model="text")
    system.settings.models.write_text("models: {image: {backend: still, modality: i2v}}")
    other = create_app(assemble(system.settings)).test_client()
    error = other.post(f"/v1/videos/{source['id']}/remix", json={"prompt": "b"}).get_json()["error"]

    assert (error["code"], error["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize("path", ["edits", "extensions", "characters", "characters/char_1"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_is_not_offered_is_not_taken_for_an_id(client: FlaskClient, path: str, method: str) -> None:
    answer = client.open(f"/v1/videos/{path}", method=method)
    error = answer.get_json()["error"]

    assert (answer.status_code, error["code"]) == (404, "not_found")
    assert f"there is no /v1/videos/{path} here" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", "/v1/videos", 405, "method_not_allowed"),
        ("POST", "/v1/videos/video_" + "0" * 32, 405, "method_not_allowed"),
        ("GET", "/v1/videos/video_" + "0" * 32, 404, "not_found"),
        ("GET", "/v1/videos/resp_" + "0" * 32, 404, "not_found"),
        ("DELETE", "/v1/videos/video_" + "0" * 32, 404, "not_found"),
        ("POST", "/v1/videos/video_" + "0" * 32 + "/remix", 404, "not_found"),
        ("GET", "/v1/videos/video_" + "0" * 32 + "/content?variant=thumbnail", 404, "not_found"),
    ],
)
def test_unknown_videos_and_methods_have_the_same_errors(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.open(path, method=method)

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)


def test_a_completed_video_has_what_load_clients_read(client: FlaskClient, system: System, worker: Worker) -> None:
    video = make(client, model="text")
    assert not {"url", "num_outputs", "inference_time_s"} & set(video)
    until(lambda: client.get(f"/v1/videos/{video['id']}").get_json()["status"] == "completed")
    done = client.get(f"/v1/videos/{video['id']}").get_json()

    assert done["url"] == f"http://localhost/v1/videos/{video['id']}/content"
    assert (done["num_outputs"], done["num_frames"], done["fps"], done["duration_s"]) == (1, 5, 8, 0.625)
    assert 0 < done["inference_time_s"] < 60
