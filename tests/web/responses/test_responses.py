"""`/v1/responses` from request to answer, with the `still` backend."""

import base64
import time
from threading import Thread

import pytest
from conftest import data_url, leftovers, png, with_image
from flask.testing import FlaskClient
from support.patience import first_job, until

from router.engine.worker import Worker
from router.system import System

KEYS = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
]


def finished(client: FlaskClient, answer: dict[str, object]) -> dict:
    def seen() -> dict | None:
        now = client.get(f"/v1/responses/{answer['id']}").get_json()
        return now if now["status"] not in ("queued", "in_progress") else None

    return until(seen)


@pytest.fixture
def running(client: FlaskClient, worker: Worker) -> dict:
    """Return a job that an engine is working on."""
    body = {"model": "slow", "input": "a long one", "background": True, "provider_options": {"video": {"steps": 60}}}
    job = client.post("/v1/responses", json=body).get_json()
    until(lambda: client.get(f"/v1/responses/{job['id']}").get_json()["progress"] >= 5)
    return job


def test_text_becomes_a_video(client: FlaskClient, worker: Worker) -> None:
    answer = client.post("/v1/responses", json={"model": "text", "input": "a red ball", "seed": 3})

    body = answer.get_json()
    assert answer.status_code == 200
    assert body["status"] == "completed"
    part = body["output"][0]["content"][0]
    video = client.get(part["video_url"])
    assert video.mimetype == "video/mp4"
    assert video.data[4:8] == b"ftyp"
    assert (part["width"], part["height"], part["num_frames"], part["frames_per_second"]) == (64, 64, 5, 8)


def test_all_31_keys_are_there_in_every_state(client: FlaskClient, worker: Worker) -> None:
    queued = client.post("/v1/responses", json={"input": "a", "background": True}).get_json()
    done = finished(client, queued)

    assert len(KEYS) == 31
    for body in (queued, done):
        assert [key for key in KEYS if key not in body] == []


def test_the_part_is_output_video_only_for_those_who_ask_for_video(client: FlaskClient, worker: Worker) -> None:
    plain = client.post("/v1/responses", json={"input": "a"}).get_json()["output"][0]["content"][0]
    asked = client.post("/v1/responses", json={"input": "a", "provider_options": {"video": {}}}).get_json()

    assert plain["type"] == "output_text"
    assert plain["text"] == plain["video_url"]
    assert plain["annotations"] == []
    assert asked["output"][0]["content"][0]["type"] == "output_video"


def test_base64_takes_the_place_of_the_url(client: FlaskClient, worker: Worker) -> None:
    body = {"input": "a", "provider_options": {"video": {"response_format": "b64_json"}}}
    part = client.post("/v1/responses", json=body).get_json()["output"][0]["content"][0]

    assert "video_url" not in part
    assert base64.b64decode(part["video_data"])[4:8] == b"ftyp"


def test_one_frame_is_a_png(client: FlaskClient, worker: Worker) -> None:
    body = {"input": "a", "provider_options": {"image": {"response_format": "url"}}}
    part = client.post("/v1/responses", json=body).get_json()["output"][0]["content"][0]
    image = client.get(part["image_url"])

    assert part["type"] == "output_image"
    assert image.mimetype == "image/png"
    assert image.data.startswith(b"\x89PNG")


def test_an_image_and_no_size_gives_the_images_aspect(client: FlaskClient, worker: Worker) -> None:
    body = client.post("/v1/responses", json={"model": "both", "input": with_image("go", data_url(png(128, 32)))})

    used = body.get_json()["provider_options"]["video"]
    assert used["width"] > 1.9 * used["height"]
    assert used["width"] % 16 == used["height"] % 16 == 0


def test_what_was_used_gives_the_same_video_again(client: FlaskClient, worker: Worker) -> None:
    first = client.post("/v1/responses", json={"model": "text", "input": "a"}).get_json()
    again = {"model": first["model"], "input": "a", "provider_options": first["provider_options"]}
    second = client.post("/v1/responses", json=again).get_json()

    videos = [client.get(answer["output"][0]["content"][0]["video_url"]).data for answer in (first, second)]
    assert first["provider_options"] == second["provider_options"]
    assert videos[0] == videos[1]


def test_a_seed_that_we_draw_survives_any_json_parser(client: FlaskClient, worker: Worker) -> None:
    for _ in range(20):
        body = client.post("/v1/responses", json={"input": "a", "background": True}).get_json()
        assert body["provider_options"]["video"]["seed"] < 2**53


def test_adjustments_are_warnings(client: FlaskClient, worker: Worker) -> None:
    options = {"width": 70, "height": 64, "num_frames": 7}
    body = client.post("/v1/responses", json={"input": "a", "provider_options": {"video": options}}).get_json()

    used = body["provider_options"]["video"]
    assert (used["width"], used["num_frames"]) == (64, 5)
    assert ["70x64" in body["warnings"][0], "num_frames 7" in body["warnings"][1]] == [True, True]


def test_a_route_picks_by_what_it_is_given(client: FlaskClient, worker: Worker) -> None:
    with_text = client.post("/v1/responses", json={"model": "any", "input": "a"}).get_json()
    with_picture = client.post("/v1/responses", json={"model": "any", "input": with_image("a", data_url(png()))})

    assert with_text["model"] == "text"
    assert with_picture.get_json()["model"] == "image"


def test_system_text_goes_in_front_and_the_last_user_message_counts(client: FlaskClient, system: System) -> None:
    messages = [
        {"role": "system", "content": "in the style of a cartoon"},
        {"type": "message", "role": "user", "content": "an old wish"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "done", "annotations": []}]},
        {"role": "developer", "content": [{"type": "input_text", "text": "no text"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "a cat"}]},
    ]
    made = client.post("/v1/responses", json={"input": messages, "background": True}).get_json()

    job = system.jobs.get(made["id"].removeprefix("resp_"), "local")
    assert job is not None
    assert job.task.prompt == "in the style of a cartoon\nno text\na cat"


def test_a_background_job_shows_its_place_and_its_progress(client: FlaskClient) -> None:
    jobs = [client.post("/v1/responses", json={"input": "a", "background": True}).get_json() for _ in range(3)]
    last = client.get(f"/v1/responses/{jobs[2]['id']}").get_json()

    assert [(job["status"], job["queue_position"]) for job in jobs] == [("queued", 1), ("queued", 2), ("queued", 3)]
    assert (last["progress"], last["queue_position"]) == (0, 3)


def test_progress_is_real_per_step(client: FlaskClient, running: dict) -> None:
    seen = set()
    for _ in range(40):
        now = client.get(f"/v1/responses/{running['id']}").get_json()
        seen.add(now["steps_done"])
        time.sleep(0.02)

    assert len(seen) >= 4
    assert now["phase"] == "step"


def test_cancel_stops_the_device_at_its_next_step(
    client: FlaskClient, system: System, worker: Worker, running: dict
) -> None:
    answer = client.post(f"/v1/responses/{running['id']}/cancel").get_json()
    other = client.post("/v1/responses", json={"model": "text", "input": "next"}).get_json()

    assert answer["status"] == "cancelled"
    assert other["status"] == "completed"
    stopped = system.jobs.get(running["id"].removeprefix("resp_"), "local")
    assert stopped is not None
    assert stopped.progress is not None
    assert stopped.progress.done < 60
    assert client.post(f"/v1/responses/{running['id']}/cancel").get_json()["status"] == "cancelled"


def test_a_waiting_caller_gets_the_cancelled_resource(client: FlaskClient, system: System, worker: Worker) -> None:
    answers = []
    body = {"model": "slow", "input": "a", "provider_options": {"video": {"steps": 60}}}
    app = client.application
    waiter = Thread(target=lambda: answers.append(app.test_client().post("/v1/responses", json=body)))
    waiter.start()
    job = first_job(system)
    client.post(f"/v1/responses/resp_{job}/cancel")
    waiter.join(60)

    assert answers[0].status_code == 200
    assert answers[0].get_json()["status"] == "cancelled"


def test_delete_leaves_nothing_behind(client: FlaskClient, system: System, worker: Worker) -> None:
    made = client.post("/v1/responses", json={"model": "both", "input": with_image("a", data_url(png()))}).get_json()
    assert len(leftovers(system)) == 2
    answer = client.delete(f"/v1/responses/{made['id']}")

    assert answer.get_json() == {"id": made["id"], "object": "response", "deleted": True}
    assert leftovers(system) == []
    assert client.get(f"/v1/responses/{made['id']}").status_code == 404
    assert client.delete(f"/v1/responses/{made['id']}").status_code == 404


def test_deleting_a_running_job_leaves_nothing_behind(
    client: FlaskClient, system: System, worker: Worker, running: dict
) -> None:
    client.delete(f"/v1/responses/{running['id']}")
    client.post("/v1/responses", json={"model": "text", "input": "next"})

    assert [path for path in leftovers(system) if running["id"][5:] in str(path)] == []


def test_a_caller_who_may_not_wait_makes_no_job(settings, system: System) -> None:
    from dataclasses import replace

    from router.web import create_app

    none_may = replace(system, settings=replace(settings, threads=32))
    answer = create_app(none_may).test_client().post("/v1/responses", json={"input": "a"})

    assert answer.status_code == 429
    assert answer.get_json()["error"]["code"] == "too_many_waiters"
    assert int(answer.headers["retry-after"]) <= 60
    assert system.jobs.newest() == 0


def test_a_wait_that_is_too_long_ends_with_the_job_as_it_is(settings, system: System) -> None:
    from dataclasses import replace

    from router.web import create_app

    hasty = replace(system, settings=replace(settings, wait_seconds=0.1))
    answer = create_app(hasty).test_client().post("/v1/responses", json={"input": "a"})

    assert answer.get_json()["status"] == "queued"


def test_ranges_head_and_etag_work(client: FlaskClient, worker: Worker) -> None:
    url = client.post("/v1/responses", json={"input": "a"}).get_json()["output"][0]["content"][0]["video_url"]
    whole = client.get(url)
    part = client.get(url, headers={"range": "bytes=4-7"})

    assert (part.status_code, part.data) == (206, b"ftyp")
    assert part.headers["content-range"] == f"bytes 4-7/{len(whole.data)}"
    assert client.head(url).headers["content-length"] == str(len(whole.data))
    assert client.head(url).data == b""
    assert client.get(url, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    many = client.get(url, headers={"range": "bytes=0-1,4-5"})
    assert (many.status_code, len(many.data)) == (200, len(whole.data))
    assert client.get(url, headers={"range": "items=0-5"}).status_code == 200
    assert client.get(url, headers={"range": "bytes=-" + "9" * 30}).status_code == 200
    assert client.get(url, headers={"range": "bytes=-9999999"}).data == whole.data
    both = {"range": "bytes=0-1", "if-none-match": whole.headers["etag"]}
    assert client.get(url, headers=both).status_code == 304
    assert client.get(url, headers={"if-match": '"x"'}).status_code == 200
    beyond = client.get(url, headers={"range": "bytes=999999-"})
    assert (beyond.status_code, beyond.get_json()["error"]["code"]) == (416, "range_not_satisfiable")


def test_content_is_not_ready_before_its_time(client: FlaskClient) -> None:
    made = client.post("/v1/responses", json={"input": "a", "background": True}).get_json()
    answer = client.get(f"/v1/videos/{made['id'].replace('resp', 'video')}/content")

    assert answer.status_code == 404
    assert answer.get_json()["error"]["code"] == "not_ready"
    assert answer.headers["x-should-retry"] == "false"


def test_a_process_that_drains_makes_no_job_and_answers_those_who_wait(client: FlaskClient, system: System) -> None:
    answers = []
    app = client.application
    waiter = Thread(target=lambda: answers.append(app.test_client().post("/v1/responses", json={"input": "a"})))
    waiter.start()
    first_job(system)
    before = system.jobs.newest()
    app.waiting.drain()
    waiter.join(60)
    answers.append(client.post("/v1/responses", json={"input": "a"}))

    assert [(answer.status_code, answer.get_json()["error"]["code"]) for answer in answers] == [(503, "restarting")] * 2
    assert answers[0].headers["x-should-retry"] == "false"  # its job goes on
    assert answers[0].get_json()["error"]["message"].endswith(f"GET /v1/responses/resp_{first_job(system)}")
    assert [answer.headers["retry-after"] for answer in answers] == ["1", "1"]
    assert system.jobs.newest() == before


def test_who_waits_with_a_key_may_send_the_request_again(client: FlaskClient, system: System) -> None:
    answers = []
    app = client.application
    again = {"json": {"input": "a"}, "headers": {"idempotency-key": "k"}}
    waiter = Thread(target=lambda: answers.append(app.test_client().post("/v1/responses", **again)))
    waiter.start()
    first_job(system)
    app.waiting.drain()
    waiter.join(60)

    assert (answers[0].status_code, answers[0].headers["retry-after"]) == (503, "1")
    assert "x-should-retry" not in answers[0].headers
    assert answers[0].get_json()["error"]["message"].endswith("send this request again")


def test_a_second_guidance_without_a_second_expert_is_a_warning(client: FlaskClient, worker: Worker) -> None:
    body = {"input": "a", "provider_options": {"video": {"guidance_scale_2": 2}}}
    answer = client.post("/v1/responses", json=body).get_json()

    assert answer["warnings"] == ["guidance_scale_2 has no effect: text has one expert"]
    assert answer["provider_options"]["video"]["guidance_scale_2"] is None
