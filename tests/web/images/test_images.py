"""The Images API from request to answer, with the `still` backend."""

import base64
import io
import json
from dataclasses import replace
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import data_url, leftovers, png, refused
from flask.testing import FlaskClient
from support.patience import until, watch
from support.sse import parse
from werkzeug.test import TestResponse

from router.engine import encoder
from router.engine.worker import Worker
from router.jobs import ClaimRequest
from router.system import System, assemble
from router.values import Artifact, Failure, Job, Status
from router.web import create_app

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
PICTURE = Artifact("1.png", "image/png", "00", 9, 64, 64, 1, 8)
MAGIC = {"png": b"\x89PNG", "jpeg": b"\xff\xd8\xff", "webp": b"RIFF"}


def draw(client: FlaskClient, **body: Any) -> dict[str, Any]:
    answer = client.post(GENERATIONS, json={"prompt": "a", **body})
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()


def jobs_of(system: System) -> list[Job]:
    """Return the jobs, oldest first."""
    return list(system.jobs.page("local", after=None, limit=9, newest_first=False) or ())


def shape(data: bytes) -> tuple[int, int]:
    """Return the width and height of an encoded image."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels.shape[1], pixels.shape[0]


def test_an_image_comes_in_base64(client: FlaskClient, worker: Worker) -> None:
    answer = draw(client, model="text", seed=7, size="96x32")
    (image,) = answer["data"]
    data = base64.b64decode(image["b64_json"])

    assert (data[:4], shape(data)) == (MAGIC["png"], (96, 32))
    assert (image["seed"], answer["model"], answer["size"]) == (7, "text", "96x32")
    assert (answer["output_format"], answer["warnings"]) == ("png", [])
    assert client.get(f"/v1/images/{image['id']}/content").data == data


@pytest.mark.parametrize("kind", MAGIC)
def test_an_image_comes_in_the_format_that_was_asked_for(client: FlaskClient, worker: Worker, kind: str) -> None:
    inline = draw(client, seed=1, output_format=kind)
    linked = draw(client, seed=1, output_format=kind, response_format="url")
    url = linked["data"][0]["url"]
    fetched = client.get(url.removeprefix("http://localhost"))

    assert url.startswith("http://localhost/v1/images/image_")  # whole: Open WebUI fetches nothing else
    assert (fetched.mimetype, fetched.data[:4][: len(MAGIC[kind])]) == (f"image/{kind}", MAGIC[kind])
    assert base64.b64decode(inline["data"][0]["b64_json"]) == fetched.data
    assert inline["output_format"] == kind


def test_several_images_are_jobs_with_seeds_counted_up(client: FlaskClient, system: System, worker: Worker) -> None:
    answer = draw(client, n=4, seed=2**63 - 2, steps=2)
    alone = draw(client, seed=0, steps=2)

    assert [image["seed"] for image in answer["data"]] == [2**63 - 2, 2**63 - 1, 0, 1]
    assert answer["data"][2]["b64_json"] == alone["data"][0]["b64_json"]
    assert len({image["id"] for image in answer["data"]}) == 4
    assert len(client.get("/v1/videos").get_json()["data"]) == 5


def test_each_seed_is_drawn_where_none_was_sent(client: FlaskClient, worker: Worker) -> None:
    seeds = [image["seed"] for image in draw(client, n=2)["data"]]

    assert seeds[1] == seeds[0] + 1
    assert seeds != [image["seed"] for image in draw(client, n=2)["data"]]


def test_a_size_beyond_the_limit_is_made_smaller_with_a_warning(client: FlaskClient, worker: Worker) -> None:
    answer = draw(client, model="text", n=1, size="512x512", response_format="b64_json")  # as Open WebUI asks

    assert (answer["size"], shape(base64.b64decode(answer["data"][0]["b64_json"]))) == ("128x128", (128, 128))
    assert answer["warnings"] == ["size 512x512 was made 128x128: text takes at most 16,384 pixels a frame"]
    assert draw(client, size="1024x256")["size"] == "256x64"


def test_auto_is_the_models_own_size(client: FlaskClient, worker: Worker) -> None:
    assert draw(client, size="auto")["size"] == "64x64"


def test_a_videos_size_beyond_the_limit_is_still_refused(client: FlaskClient, system: System) -> None:
    answer = client.post("/v1/videos", json={"prompt": "a", "model": "text", "size": "512x512"})

    assert refused(answer, system)["code"] == "limit_exceeded"


def test_plain_names_and_the_block_mean_the_same(client: FlaskClient, system: System, worker: Worker) -> None:
    flat = draw(client, num_inference_steps=2, guidance_scale=2.5, negative_prompt="fog", seed=3)
    options = {"steps": 2, "guidance_scale": 2.5, "negative_prompt": "fog", "seed": 3}
    block = draw(client, provider_options={"image": options})

    assert flat["data"][0]["b64_json"] == block["data"][0]["b64_json"]
    used = client.get(f"/v1/videos/{flat['data'][0]['id'].replace('image', 'video')}").get_json()["provider_options"]
    assert {name: used["video"][name] for name in options} == options


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_an_edit_starts_from_the_image_of_a_form(client: FlaskClient, worker: Worker, name: str) -> None:
    form = {"prompt": "a", name: (io.BytesIO(png(128, 64)), "a.png"), "n": "2", "seed": "5"}
    answer = client.post(EDITS, data=form, content_type="multipart/form-data").get_json()

    assert answer["model"] == "image"
    assert [image["seed"] for image in answer["data"]] == [5, 6]
    width, height = map(int, answer["size"].split("x"))
    assert width > 1.5 * height


@pytest.mark.parametrize(
    "body", [{"image": data_url(png())}, {"image": [data_url(png())]}, {"images": [{"image_url": data_url(png())}]}]
)
def test_an_edit_takes_json_too(client: FlaskClient, worker: Worker, body: dict[str, Any]) -> None:
    answer = client.post(EDITS, json={"prompt": "a", **body})

    assert (answer.status_code, answer.get_json()["model"]) == (200, "image")


REFUSED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "no prompt": (GENERATIONS, {}, "missing_required_parameter", "prompt"),
    "no image": (EDITS, {"prompt": "a"}, "missing_required_parameter", "image"),
    "five images": (GENERATIONS, {"prompt": "a", "n": 5}, "invalid_value", "n"),
    "none": (GENERATIONS, {"prompt": "a", "n": 0}, "invalid_value", "n"),
    "n twice": (
        GENERATIONS,
        {"prompt": "a", "n": 2, "provider_options": {"image": {"num_images": 3}}},
        "invalid_value",
        "provider_options.image.num_images",
    ),
    "a GIF": (GENERATIONS, {"prompt": "a", "output_format": "gif"}, "invalid_value", "output_format"),
    "half": (GENERATIONS, {"prompt": "a", "response_format": "video"}, "invalid_value", "response_format"),
    "a stream": (GENERATIONS, {"prompt": "a", "stream": True}, "invalid_value", "stream"),
    "partial images": (GENERATIONS, {"prompt": "a", "partial_images": 2}, "invalid_value", "partial_images"),
    "no background": (GENERATIONS, {"prompt": "a", "background": "transparent"}, "invalid_value", "background"),
    "another size": (GENERATIONS, {"prompt": "a", "size": "large"}, "invalid_value", "size"),
    "an adapter": (GENERATIONS, {"prompt": "a", "lora": "x"}, "invalid_value", "lora"),
    "two images": (EDITS, {"prompt": "a", "image": [data_url(png())] * 2}, "modality_mismatch", "image"),
    "two names": (EDITS, {"prompt": "a", "image": data_url(png()), "images": [data_url(png(8, 8))]}, "invalid_value", "images"),
    "a mask": (EDITS, {"prompt": "a", "image": data_url(png()), "mask": data_url(png(8, 8))}, "unknown_parameter", "mask"),
    "a mismatch": (EDITS, {"prompt": "a", "image": data_url(png()), "model": "text"}, "modality_mismatch", "image"),
    "text for an image model": (GENERATIONS, {"prompt": "a", "model": "image"}, "modality_mismatch", "image"),
    "the other block": (
        GENERATIONS,
        {"prompt": "a", "provider_options": {"video": {"steps": 2}}},
        "invalid_value",
        "provider_options.video",
    ),
    "a length": (
        GENERATIONS,
        {"prompt": "a", "provider_options": {"image": {"num_frames": 5}}},
        "invalid_value",
        "provider_options.image.num_frames",
    ),
    "n in extra_body": (GENERATIONS, {"prompt": "a", "n": 1, "extra_body": {"n": 2}}, "invalid_value", "extra_body.n"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "body", "code", "param"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_is_refused(
    client: FlaskClient, system: System, path: str, body: dict[str, Any], code: str, param: str
) -> None:
    error = refused(client.post(path, json=body), system)

    assert (error["code"], error["param"]) == (code, param)


def test_unused_names_are_warned_of(client: FlaskClient, worker: Worker) -> None:
    answer = draw(client, quality="high", style="vivid", user="me", seconds=3)

    assert answer["warnings"] == ["not used, as nothing here has that name: quality, style, user, seconds"]


def test_a_refused_member_leaves_no_job_of_the_request(system: System) -> None:
    small = assemble(replace(system.settings, max_queued=5), plugins=[encoder])
    client = create_app(small).test_client()
    for _ in range(2):
        client.post("/v1/videos", json={"prompt": "a", "model": "text"})
    full = client.post(GENERATIONS, json={"prompt": "a", "model": "text", "n": 4})
    smaller = assemble(replace(system.settings, max_queued=3), plugins=[encoder])
    never = create_app(smaller).test_client().post(GENERATIONS, json={"prompt": "a", "model": "text", "n": 4})

    assert (full.status_code, full.get_json()["error"]["code"]) == (429, "queue_full")
    assert "holds 2 jobs, its limit is 5, and this request brings 4" in full.get_json()["error"]["message"]
    assert (never.status_code, never.get_json()["error"]["code"]) == (400, "limit_exceeded")
    assert never.get_json()["error"]["param"] == "n"
    assert len(jobs_of(system)) == 2
    assert leftovers(system) == []


THREE: dict[str, Any] = {"provider_options": {"image": {"num_images": 3, "response_format": "url"}}}


def meanwhile(client: FlaskClient, system: System, path: str, **body: Any) -> tuple[Thread, list[TestResponse], Job]:
    """Ask for images in a thread; return it, its answers and the first job."""
    answers: list[TestResponse] = []
    thread = Thread(target=lambda: answers.append(client.post(path, json=body)))
    thread.start()
    first = until(lambda: next((job for job in jobs_of(system) if job.presentation.siblings), None))
    return thread, answers, first


@pytest.mark.parametrize("path", [GENERATIONS, "/v1/responses"])
def test_requests_fail_when_all_their_images_have(client: FlaskClient, system: System, path: str) -> None:
    body: dict[str, Any] = {"prompt": "a", "n": 2} if path == GENERATIONS else {"input": "a", **THREE}
    thread, answers, first = meanwhile(client, system, path, **body)
    for _ in jobs_of(system):
        lease = system.jobs.claim("e", ClaimRequest(["text"]))
        assert lease is not None
        assert answers == []
        system.jobs.fail(lease[0], Failure("out_of_memory", "too large"))
    thread.join(20)

    assert answers[0].status_code == 500
    assert answers[0].get_json()["error"]["code"] == "out_of_memory"
    assert client.get(f"/v1/responses/resp_{first.id}").get_json()["status"] == "failed"


@pytest.mark.parametrize(("lose", "which"), [("cancel", 0), ("cancel", 1), ("delete", 1), ("fail", 0), ("fail", 1)])
@pytest.mark.parametrize("path", [GENERATIONS, "/v1/responses"])
def test_the_images_that_are_made_come_without_the_lost_one(
    client: FlaskClient, system: System, lose: str, which: int, path: str, request: pytest.FixtureRequest
) -> None:
    body: dict[str, Any] = {"prompt": "a", "n": 3} if path == GENERATIONS else {"input": "a", **THREE}
    thread, answers, first = meanwhile(client, system, path, **body)
    lost = (first.id, *first.presentation.siblings)[which]
    leases = [found[0] for _ in range(which + 1) if (found := system.jobs.claim("e", ClaimRequest(["text"])))]
    unfinished = client.get(f"/v1/responses/resp_{first.id}").get_json()
    if lose == "fail":
        system.jobs.fail(leases[-1], Failure("out_of_memory", "too large"))
    elif lose == "delete":
        client.delete(f"/v1/videos/video_{lost}")
    else:
        system.jobs.cancel(lost, "local")
    for lease in leases:
        system.jobs.release(lease)
    request.getfixturevalue("worker")
    thread.join(20)
    answer = answers[0].get_json()

    assert unfinished["status"] in ("queued", "in_progress")
    assert answers[0].status_code == 200
    assert len(answer["data"] if path == GENERATIONS else answer["output"][0]["content"]) == 2
    assert answer["warnings"] == ["2 of 3 images are here: the others failed, were cancelled or deleted"]
    again = client.get(f"/v1/responses/resp_{first.id}").get_json()
    assert (again["status"], again["warnings"]) == ("completed", answer["warnings"])


def test_a_stream_of_several_images_ends_with_the_last(client: FlaskClient, system: System) -> None:
    thread, _, first = meanwhile(client, system, "/v1/responses", input="a", **THREE)
    url = f"/v1/responses/resp_{first.id}?stream=true"
    pieces = client.get(url, buffered=False).iter_encoded()
    events: list[bytes] = []
    reading = Thread(target=lambda: events.extend(pieces))
    reading.start()
    for _ in range(3):
        lease = system.jobs.claim("e", ClaimRequest(["text"]))
        assert lease is not None
        assert b"response.completed" not in b"".join(events)
        system.jobs.finish(lease[0], PICTURE)
    reading.join(20)
    thread.join(20)
    live, later = (list(parse(data)) for data in (b"".join(events), client.get(url).data))

    assert live[-1]["type"] == later[-1]["type"] == "response.completed"
    assert len(live[-1]["response"]["output"][0]["content"]) == 3
    assert live[-1] == later[-1]
    numbers = [event["sequence_number"] for event in live]
    assert numbers == sorted(set(numbers))


def test_an_unfinished_response_of_several_images_is_in_progress(client: FlaskClient, system: System) -> None:
    thread, _, first = meanwhile(client, system, "/v1/responses", input="a", **THREE)
    lease = system.jobs.claim("e", ClaimRequest(["text"]))
    assert lease is not None
    system.jobs.finish(lease[0], PICTURE)
    shown = client.get(f"/v1/responses/resp_{first.id}").get_json()
    client.post(f"/v1/responses/resp_{first.id}/cancel")
    thread.join(20)

    assert (shown["status"], shown["output"], shown["completed_at"]) == ("in_progress", [], None)
    assert shown["usage"] is None
    assert shown["warnings"] == []


def test_cancel_and_delete_of_the_first_are_those_of_all(client: FlaskClient, system: System) -> None:
    thread, _, first = meanwhile(client, system, GENERATIONS, prompt="a", n=3)
    client.post(f"/v1/responses/resp_{first.id}/cancel")
    thread.join(20)

    assert [job.status for job in jobs_of(system)] == [Status.CANCELLED] * 3
    client.delete(f"/v1/videos/video_{first.id}")
    assert jobs_of(system) == []


def test_cancel_after_the_first_has_finished_is_that_of_the_others(client: FlaskClient, system: System) -> None:
    thread, _, first = meanwhile(client, system, GENERATIONS, prompt="a", n=3)
    lease = system.jobs.claim("e", ClaimRequest(["text"]))
    assert lease is not None
    assert lease[0].job == first.id  # seeds count up in the order of the queue
    system.jobs.finish(lease[0], PICTURE)
    client.post(f"/v1/responses/resp_{first.id}/cancel")
    thread.join(20)

    assert [job.status for job in jobs_of(system)] == [Status.COMPLETED, Status.CANCELLED, Status.CANCELLED]


def test_a_cancelled_response_of_several_images_is_a_response(client: FlaskClient, system: System) -> None:
    options = {"provider_options": {"image": {"num_images": 3}}}
    thread, answers, first = meanwhile(client, system, "/v1/responses", input="a", **options)
    client.post(f"/v1/responses/resp_{first.id}/cancel")
    thread.join(20)

    assert (answers[0].status_code, answers[0].get_json()["status"]) == (200, "cancelled")


def test_a_response_says_which_images_are_lost(client: FlaskClient, system: System, worker: Worker) -> None:
    body = {"input": "a", "provider_options": {"image": {"num_images": 3}}}
    made = client.post("/v1/responses", json=body).get_json()
    (first,) = (job for job in jobs_of(system) if job.presentation.siblings)
    client.delete(f"/v1/videos/video_{first.presentation.siblings[0]}")
    left = client.get(f"/v1/responses/{made['id']}").get_json()

    assert (len(made["output"][0]["content"]), made["warnings"]) == (3, [])
    assert len(left["output"][0]["content"]) == 2
    assert left["warnings"] == ["2 of 3 images are here: the others failed, were cancelled or deleted"]
    assert (made["usage"]["frames"], left["usage"]["frames"]) == (3, 2)
    assert made["usage"]["gpu_seconds"] > left["usage"]["gpu_seconds"] > 0


def test_the_longest_wait_is_that_of_all_images_together(system: System) -> None:
    hasty = create_app(replace(system, settings=replace(system.settings, wait_seconds=0.3))).test_client()
    with watch() as waited:
        answer = hasty.post(GENERATIONS, json={"prompt": "a", "n": 4})

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "timed_out")
    assert waited.seconds < 4 * 0.3


@pytest.mark.parametrize("way", ["url", "b64_json"])
def test_a_late_answer_is_whole(system: System, worker: Worker, way: str) -> None:
    settings = replace(system.settings, silent_seconds=0.0, pad_seconds=0.05)
    hasty = create_app(replace(system, settings=settings)).test_client()
    body = {"prompt": "a", "n": 2, "response_format": way, "model": "slow", "steps": 4}
    answer = hasty.post(GENERATIONS, json=body)

    assert answer.data.startswith(b" ")
    assert [way in image for image in answer.get_json()["data"]] == [True, True]
    if way == "url":
        assert answer.get_json()["data"][0]["url"].startswith("http://localhost/v1/images/image_")


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}], ids=["without a key", "with a key"])
def test_a_restart_after_white_space_is_an_error_in_the_answer(system: System, headers: dict[str, str]) -> None:
    hasty = replace(system, settings=replace(system.settings, silent_seconds=0.05, pad_seconds=0.05))
    app = create_app(hasty)
    answer = app.test_client().post(GENERATIONS, json={"prompt": "a", "n": 2}, headers=headers, buffered=False)
    pieces = answer.iter_encoded()
    assert next(pieces) == b" "
    app.waiting.drain()  # type: ignore[attr-defined]
    error = json.loads(b"".join(pieces))["error"]

    assert error["code"] == "restarting"
    assert ("send this request again" in error["message"]) is bool(headers)


def test_all_images_of_a_request_have_its_priority(client: FlaskClient, system: System) -> None:
    options = {"provider_options": {"image": {"num_images": 3}}, "service_tier": "priority"}
    thread, _, first = meanwhile(client, system, "/v1/responses", input="a", **options)
    priorities = {job.priority for job in jobs_of(system)}
    client.post(f"/v1/responses/resp_{first.id}/cancel")
    thread.join(20)

    assert priorities == {1}


def test_what_a_key_found_stays_whatever_becomes_of_the_repeat(
    client: FlaskClient, system: System, worker: Worker
) -> None:
    def ask(count: int) -> TestResponse:
        body = {"prompt": "a", "model": "text", "seed": 5, "n": count, "size": "64x64", "steps": 2}
        return client.post(GENERATIONS, json=body, headers={"Idempotency-Key": "k"})

    first = ask(4).get_json()["data"]
    assert (ask(3).status_code, ask(1).status_code) == (422, 422)
    assert ask(4).get_json()["data"] == first
    client.delete(f"/v1/videos/{first[3]['id'].replace('image', 'video')}")
    lost = ask(4).get_json()

    assert lost["data"] == first[:3]
    assert lost["warnings"] == ["3 of 4 images are here: the others failed, were cancelled or deleted"]
    assert len(jobs_of(system)) == 3
    assert all(client.get(f"/v1/images/{image['id']}/content").status_code == 200 for image in first[:3])


def test_a_refused_request_queues_nothing(client: FlaskClient, system: System) -> None:
    answer = client.post(GENERATIONS, json={"prompt": "a", "n": 4}, headers={"Idempotency-Key": "k" * 256})

    assert refused(answer, system)["param"] == "Idempotency-Key"


def test_a_key_repeats_the_same_images(client: FlaskClient, worker: Worker, system: System) -> None:
    body = {"prompt": "a", "n": 3}
    headers = {"Idempotency-Key": "k"}
    one, two = (client.post(GENERATIONS, json=body, headers=headers).get_json() for _ in range(2))
    other = client.post(GENERATIONS, json={**body, "n": 2}, headers=headers)

    assert one["data"] == two["data"]
    assert (other.status_code, other.get_json()["error"]["code"]) == (422, "idempotency_key_reuse")
