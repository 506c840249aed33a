"""Videos for waiting callers: `/v1/videos/sync` and MLPerf's `/v1/videos/generations`."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from conftest import data_url, png, refused
from flask.testing import FlaskClient
from support.patience import until
from werkzeug.test import TestResponse

from router.engine.worker import Worker
from router.jobs import ClaimRequest
from router.system import System
from router.values import Failure, Job
from router.web import create_app

SYNC, GENERATIONS = "/v1/videos/sync", "/v1/videos/generations"
MLPERF: dict[str, Any] = {  # as its client writes it, with sizes of these models
    "prompt": "a", "negative_prompt": "", "size": "64x128", "seconds": 5.0, "fps": 8, "num_inference_steps": 2,
    "guidance_scale": 4.0, "guidance_scale_2": 3.0, "seed": 42, "output_format": "auto", "response_format": "video_bytes",
}  # fmt: skip
ONE_EXPERT = "guidance_scale_2 has no effect: text has one expert"


def only_job(system: System) -> Job:
    (job,) = system.jobs.page("local", after=None, limit=9, newest_first=False) or ()
    return job


def meanwhile(client: FlaskClient, path: str, body: dict[str, Any]) -> tuple[Thread, list[TestResponse]]:
    """Send a request from a thread; its answer comes into the list."""
    answers: list[TestResponse] = []
    thread = Thread(target=lambda: answers.append(client.post(path, json=body)))
    thread.start()
    return thread, answers


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "application/x-www-form-urlencoded"])
def test_sync_gives_the_bytes_of_the_video(client: FlaskClient, system: System, worker: Worker, kind: str) -> None:
    body = {"prompt": "a", "model": "text", "num_inference_steps": 2, "seed": 7, "size": "64x32"}
    answer = client.post(SYNC, data=json.dumps(body) if "json" in kind else body, content_type=kind)
    job = only_job(system)

    assert (answer.status_code, answer.mimetype, answer.data[4:8]) == (200, "video/mp4", b"ftyp")
    assert (job.task.steps, job.task.seed, job.task.width, job.task.height) == (2, 7, 64, 32)
    assert answer.headers["x-video-id"] == f"video_{job.id}"
    assert answer.headers["x-model"] == "text"
    assert float(answer.headers["x-inference-time-s"]) >= 0
    assert client.get(f"/v1/videos/video_{job.id}/content").data == answer.data


def test_sync_takes_an_image(client: FlaskClient, system: System, worker: Worker) -> None:
    reference = json.dumps({"image_url": data_url(png())})
    answer = client.post(SYNC, data={"prompt": "a", "image_reference": reference})

    assert (answer.status_code, answer.mimetype, only_job(system).model) == (200, "video/mp4", "image")


def test_sync_of_one_frame_is_a_png(client: FlaskClient, worker: Worker) -> None:
    answer = client.post(SYNC, json={"prompt": "a", "num_frames": 1})

    assert (answer.mimetype, answer.data[:4]) == ("image/png", b"\x89PNG")


@pytest.mark.parametrize("path", [SYNC, GENERATIONS])
def test_what_is_wrong_is_refused_without_waiting(client: FlaskClient, system: System, path: str) -> None:
    for body, code, param in (
        ({}, "missing_required_parameter", "prompt"),
        ({"prompt": "a", "num_inference_steps": 0}, "invalid_value", "num_inference_steps"),
        ({"prompt": "a", "model": "image"}, "modality_mismatch", "input_reference"),
        ({"prompt": "a", "n": 2}, "invalid_value", "n"),
        ({"prompt": "a", "lora": "x"}, "invalid_value", "lora"),
    ):
        error = refused(client.post(path, json=body), system)
        assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize("path", [SYNC, GENERATIONS])
def test_a_failed_job_is_the_callers_error(client: FlaskClient, system: System, path: str) -> None:
    thread, answers = meanwhile(client, path, {"prompt": "a", "model": "text"})
    until(lambda: system.jobs.newest() > 0)
    found = system.jobs.claim("e", ClaimRequest(["text"]))
    assert found is not None
    system.jobs.fail(found[0], Failure("out_of_memory", "too large"))
    thread.join(20)

    assert (answers[0].status_code, answers[0].headers["x-should-retry"]) == (500, "false")
    assert answers[0].get_json()["error"]["code"] == "out_of_memory"


@pytest.mark.parametrize("path", [SYNC, GENERATIONS])
def test_a_cancelled_job_and_a_deleted_one_are_errors(client: FlaskClient, system: System, path: str) -> None:
    for end, status, code in (
        (lambda job: client.post(f"/v1/responses/resp_{job.id}/cancel"), 500, "cancelled"),
        (lambda job: client.delete(f"/v1/videos/video_{job.id}"), 404, "not_found"),
    ):
        thread, answers = meanwhile(client, path, {"prompt": "a", "model": "text"})
        until(lambda: system.jobs.page("local", after=None, limit=9, newest_first=True))
        job = only_job(system)
        end(job)
        thread.join(20)

        assert (answers[0].status_code, answers[0].get_json()["error"]["code"]) == (status, code)
        client.delete(f"/v1/videos/video_{job.id}")


def test_the_longest_wait_leaves_the_job_and_says_where_it_is(system: System) -> None:
    hasty = create_app(replace(system, settings=replace(system.settings, wait_seconds=0.1))).test_client()
    answer = hasty.post(SYNC, json={"prompt": "a", "model": "text"})

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "timed_out")
    assert f"GET /v1/videos/video_{only_job(system).id}" in answer.get_json()["error"]["message"]


def test_mlperfs_client_gets_exactly_what_it_reads(client: FlaskClient, system: System, worker: Worker) -> None:
    answer = client.post(GENERATIONS, json=MLPERF)
    job = only_job(system)

    assert answer.status_code == 200
    assert set(answer.get_json()) == {"video_id", "video_bytes"}
    assert base64.b64decode(answer.get_json()["video_bytes"])[4:8] == b"ftyp"
    assert answer.get_json()["video_id"] == f"video_{job.id}"
    assert (job.task.num_frames, job.task.frames_per_second, job.task.steps, job.task.seed) == (41, 8, 2, 42)
    assert (job.task.width, job.task.height, job.task.guidance_scale) == (64, 128, 4.0)
    assert job.warnings == (ONE_EXPERT,)


def test_frames_win_over_mlperfs_seconds(client: FlaskClient, system: System, worker: Worker) -> None:
    client.post(GENERATIONS, json={**MLPERF, "num_frames": 9, "boundary_ratio": 0.875})

    assert only_job(system).task.num_frames == 9
    assert only_job(system).warnings == (
        "not used, as nothing here has that name: boundary_ratio",
        "seconds 5 is not used: num_frames is 9",
        ONE_EXPERT,
    )


@pytest.mark.parametrize(
    ("field", "value"), [("latent_path", "/x.pt"), ("output_format", "avi"), ("response_format", "b64_json")]
)
def test_what_mlperfs_client_cannot_have_is_refused(
    client: FlaskClient, system: System, field: str, value: str
) -> None:
    error = refused(client.post(GENERATIONS, json={**MLPERF, field: value}), system)

    assert error["param"] == field
    assert repr(value) in error["message"] or value in error["message"]


def test_a_path_needs_a_shared_folder(system: System, worker: Worker, tmp_path: Path) -> None:
    body = {**MLPERF, "response_format": "video_path"}
    error = refused(create_app(system).test_client().post(GENERATIONS, json=body), system)
    assert (error["param"], "FRAMEGATE_SHARED_VIDEOS" in error["message"]) == ("response_format", True)

    shared = tmp_path / "shared"
    shared.mkdir()
    sharing = replace(system, settings=replace(system.settings, shared_videos=shared))
    answer = create_app(sharing).test_client().post(GENERATIONS, json=body).get_json()
    path = Path(answer["video_path"])

    assert set(answer) == {"video_id", "video_path"}
    assert (path.parent, path.name) == (shared, f"{answer['video_id']}.mp4")
    assert path.read_bytes()[4:8] == b"ftyp"
    assert path.stat().st_mode & 0o777 == 0o644

    path.unlink()
    shared.rmdir()  # it was there at the start
    lost = create_app(sharing).test_client().post(GENERATIONS, json=body)
    assert (lost.status_code, lost.get_json()["error"]["code"]) == (503, "store_unavailable")
    assert "/content has it" in lost.get_json()["error"]["message"]
    assert str(tmp_path) not in lost.text


def test_a_long_answer_begins_with_white_space(system: System) -> None:
    hasty = replace(system.settings, silent_seconds=0.1, pad_seconds=0.05)
    client = create_app(replace(system, settings=hasty)).test_client()
    answer = client.post(GENERATIONS, json=MLPERF, buffered=False)
    pieces = answer.iter_encoded()
    assert next(pieces) == b" "
    found = system.jobs.claim("e", ClaimRequest(["text"]))
    assert found is not None
    system.jobs.fail(found[0], Failure("out_of_memory", "too large"))
    body = json.loads(b"".join(pieces))

    assert answer.status_code == 200
    assert body["error"]["code"] == "out_of_memory"
