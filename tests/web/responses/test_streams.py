"""Event streams: the core events in order, for any reader at any speed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.patience import until
from support.sse import Event, kinds, numbers, parse
from werkzeug.test import TestResponse

from router.engine.worker import Worker
from router.jobs import ClaimRequest
from router.system import System
from router.values import Artifact, Failure, Job, Lease, Phase, Presentation, Progress
from router.web import create_app

BEFORE = ["created", "queued", "in_progress", "output_item.added", "content_part.added"]
AFTER = ["content_part.done", "output_item.done", "completed"]
TEXT = ["output_text.delta", "output_text.done"]
CORE = {
    *(f"response.{word}" for word in ("created", "queued", "in_progress", "completed", "failed", "incomplete")),
    *(f"response.{what}.{word}" for what in ("output_item", "content_part") for word in ("added", "done")),
    *(f"response.{what}.{word}" for what in ("output_text", "function_call_arguments") for word in ("delta", "done")),
}
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)


def ask(client: FlaskClient, **body: Any) -> TestResponse:
    """Begin a stream; it is read, piece by piece, by whoever iterates over it."""
    return client.post("/v1/responses", json={"model": "text", "input": "a", "stream": True, **body}, buffered=False)


def follow(client: FlaskClient, job: str, after: int | None = None) -> TestResponse:
    more = "" if after is None else f"&starting_after={after}"
    return client.get(f"/v1/responses/resp_{job}?stream=true{more}", buffered=False)


def queued(client: FlaskClient, **body: Any) -> str:
    """Queue a background job and return its id."""
    made = client.post("/v1/responses", json={"model": "text", "input": "a", "background": True, **body})
    return made.get_json()["id"].removeprefix("resp_")


def claimed(system: System) -> Lease:
    found = system.jobs.claim("e", ClaimRequest(["text"]))
    assert found is not None
    return found[0]


def made(client: FlaskClient, job: str) -> None:
    until(lambda: client.get(f"/v1/responses/resp_{job}").get_json()["status"] == "completed")


def app_with(system: System, **settings: Any) -> Flask:
    return create_app(replace(system, settings=replace(system.settings, **settings)))


def job_of(events: list[Event]) -> str:
    return events[0]["response"]["id"].removeprefix("resp_")


def read(answer: TestResponse) -> list[Event]:
    return parse(b"".join(answer.iter_encoded()))


@contextmanager
def reading(answer: TestResponse) -> Iterator[list[bytes]]:
    """Read a stream in a thread; yield the pieces that came so far."""
    pieces: list[bytes] = []

    def run() -> None:
        pieces.extend(answer.iter_encoded())
        pieces.append(b"END")

    thread = Thread(target=run, daemon=True)
    thread.start()
    yield pieces
    thread.join(60)
    assert pieces[-1] == b"END"


def heard(pieces: list[bytes], what: bytes) -> None:
    until(lambda: any(what in piece for piece in pieces))


def test_a_text_client_gets_the_core_events_in_order(client: FlaskClient, worker: Worker) -> None:
    events = read(ask(client))

    told = kinds(events)
    if "queued" not in told:  # an engine was that quick
        told.insert(1, "queued")
    assert told == BEFORE + TEXT + AFTER
    assert {event["type"] for event in events} <= CORE
    assert numbers(events) == sorted(set(numbers(events)))
    assert numbers(events)[0] == 0


def test_the_text_is_the_path_and_the_end_has_it_all(client: FlaskClient, worker: Worker) -> None:
    events = {event["type"].removeprefix("response."): event for event in read(ask(client))}

    part = events["completed"]["response"]["output"][0]["content"][0]
    assert part["type"] == "output_text"
    assert part["text"] == part["video_url"]
    assert events["content_part.added"]["part"] == {
        "type": "output_text",
        "text": "",
        "annotations": [],
        "logprobs": [],
    }
    assert events["output_text.delta"]["delta"] == events["output_text.done"]["text"] == part["text"]
    assert events["content_part.done"]["part"] == part
    assert events["output_item.done"]["item"] == events["completed"]["response"]["output"][0]
    assert events["output_item.added"]["item"]["status"] == "in_progress"
    assert client.get(part["video_url"]).mimetype == "video/mp4"


def test_who_asks_for_video_gets_the_part_whole(client: FlaskClient, worker: Worker) -> None:
    events = read(ask(client, provider_options={"video": {}}))
    named = {event["type"].removeprefix("response."): event for event in events}

    part = named["completed"]["response"]["output"][0]["content"][0]
    assert part["type"] == "output_video"
    assert [kind for kind in kinds(events) if kind != "queued"] == [*BEFORE[:1], *BEFORE[2:], *AFTER]
    assert named["content_part.added"]["part"] == named["content_part.done"]["part"] == part


@pytest.mark.parametrize(
    ("options", "kind"), [({"image": {}}, "output_image"), ({"video": {"num_frames": 1}}, "output_image")]
)
def test_one_frame_streams_as_an_image(client: FlaskClient, worker: Worker, options: dict, kind: str) -> None:
    part = read(ask(client, provider_options=options))[-1]["response"]["output"][0]["content"][0]

    assert (part["type"], part["format"]) == (kind, "png")
    assert client.get(part["image_url"]).mimetype == "image/png"


def test_an_image_for_a_text_client_is_text_with_its_url(system: System, client: FlaskClient, worker: Worker) -> None:
    one_frame = {"model": "frame", "stream": True, "input": "a"}
    models = system.settings.models
    models.write_text(models.read_text().replace("num_frames: 5", "num_frames: 1", 1))
    from router.engine import encoder
    from router.system import assemble

    single = create_app(assemble(system.settings, plugins=[encoder])).test_client()
    part = read(ask(single, **{**one_frame, "model": "text"}))[-1]["response"]["output"][0]["content"][0]

    assert part["type"] == "output_text"
    assert part["text"] == part["image_url"]


def test_each_event_is_one_write_that_ends_in_a_blank_line(client: FlaskClient, worker: Worker) -> None:
    pieces = list(ask(client).iter_encoded())

    assert [len(parse(piece)) for piece in pieces[:-1]] == [1] * (len(pieces) - 1)
    assert {piece[-2:] for piece in pieces} == {b"\n\n"}
    assert pieces[-1] == b"data: [DONE]\n\n"


def test_the_headers_are_those_of_a_stream(client: FlaskClient, worker: Worker) -> None:
    answer = ask(client)
    read(answer)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"]


def test_every_snapshot_has_every_key_and_no_output_before_its_time(client: FlaskClient, worker: Worker) -> None:
    whole = client.post("/v1/responses", json={"model": "text", "input": "a"}).get_json()
    snapshots = [event["response"] for event in read(ask(client)) if "response" in event]

    assert all(whole.keys() <= snapshot.keys() for snapshot in snapshots)
    assert [snapshot["output"] for snapshot in snapshots[:-1]] == [[]] * (len(snapshots) - 1)
    assert snapshots[0]["status"] == "queued"


def test_progress_comes_as_repeated_snapshots(client: FlaskClient, worker: Worker) -> None:
    events = read(ask(client, model="slow", provider_options={"video": {"steps": 20}}))

    progress = [event["response"]["progress"] for event in events if event["type"] == "response.in_progress"]
    assert len(set(progress)) >= 4
    assert progress == sorted(progress)


def test_base64_comes_once_and_only_where_it_was_asked_for(client: FlaskClient, worker: Worker) -> None:
    inline = list(ask(client, provider_options={"video": {"response_format": "b64_json"}}).iter_encoded())
    plain = b"".join(ask(client, provider_options={"video": {}}).iter_encoded())

    assert [b"video_data" in piece for piece in inline] == [*[False] * (len(inline) - 2), True, False]
    assert b"video_data" not in plain


def test_a_failure_ends_the_stream_with_its_error(client: FlaskClient, system: System) -> None:
    job = queued(client)
    with reading(follow(client, job)) as pieces:
        heard(pieces, b"response.queued")
        system.jobs.fail(claimed(system), Failure("out_of_memory", "it does not fit"))
    events = parse(b"".join(pieces[:-1]))

    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"] == {"code": "out_of_memory", "message": "it does not fit"}
    assert pieces[-2] == b"data: [DONE]\n\n"


def test_cancelling_ends_the_stream_as_incomplete(client: FlaskClient) -> None:
    job = queued(client)
    with reading(follow(client, job)) as pieces:
        heard(pieces, b"response.queued")
        client.post(f"/v1/responses/resp_{job}/cancel")
    last = parse(b"".join(pieces[:-1]))[-1]

    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "cancelled"
    assert last["response"]["incomplete_details"] == {"reason": "cancelled"}
    assert last["response"] == client.get(f"/v1/responses/resp_{job}").get_json()
    assert pieces[-2] == b"data: [DONE]\n\n"


def test_deleting_ends_the_stream_as_incomplete(client: FlaskClient) -> None:
    job = queued(client)
    with reading(follow(client, job)) as pieces:
        heard(pieces, b"response.queued")
        client.delete(f"/v1/responses/resp_{job}")
    events = parse(b"".join(pieces[:-1]))

    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "deleted"}
    assert numbers(events) == sorted(set(numbers(events)))
    assert pieces[-2] == b"data: [DONE]\n\n"


def test_a_stream_without_news_sends_comments(system: System) -> None:
    client = app_with(system, heartbeat_seconds=0.05).test_client()
    with reading(follow(client, queued(client))) as pieces:
        heard(pieces, b": ")
        time.sleep(0.2)
        client.application.waiting.drain()

    assert sum(piece == b": still here\n\n" for piece in pieces) >= 3


def test_a_stream_of_a_process_that_stops_is_picked_up_at_another(
    client: FlaskClient, system: System, worker: Worker
) -> None:
    body = {"model": "slow", "background": True, "provider_options": {"video": {"steps": 30}}}
    with reading(ask(client, **body)) as pieces:
        heard(pieces, b'"progress":1')
        client.application.waiting.drain()
    events = parse(b"".join(pieces[:-1]))
    other = create_app(system).test_client()
    rest = read(follow(other, job_of(events), after=events[-1]["sequence_number"]))

    assert b"[DONE]" not in b"".join(pieces)
    assert pieces[-2].startswith(b": to be continued at GET /v1/responses/resp_")
    assert numbers(rest)[0] > events[-1]["sequence_number"]
    assert kinds([*events, *rest])[-5:] == [*BEFORE[3:], *AFTER]


def test_a_stream_ends_after_the_longest_wait(system: System) -> None:
    client = app_with(system, wait_seconds=0.1).test_client()
    pieces = list(ask(client).iter_encoded())

    assert pieces[-1].startswith(b": to be continued at")


def test_a_finished_response_is_told_from_the_start(client: FlaskClient, worker: Worker) -> None:
    job = queued(client)
    made(client, job)
    events = read(follow(client, job))

    assert kinds(events) == [BEFORE[0], *BEFORE[2:], *TEXT, *AFTER]
    assert events[0]["response"]["status"] == "queued"
    assert events[0]["response"]["output"] == []
    assert read(follow(client, job)) == events


def test_a_reader_can_go_on_after_any_event(client: FlaskClient, worker: Worker) -> None:
    job = queued(client)
    made(client, job)
    events = read(follow(client, job))

    for place, event in enumerate(events):
        rest = read(follow(client, job, after=event["sequence_number"]))
        assert rest == events[place + 1 :]
    assert list(follow(client, job, after=events[-1]["sequence_number"]).iter_encoded())[-1] == b"data: [DONE]\n\n"


def test_a_reader_who_goes_on_hears_at_once_that_the_stream_lives(client: FlaskClient) -> None:
    job = queued(client)
    started = time.monotonic()
    answer = follow(client, job, after=1)

    assert next(answer.iter_encoded()) == b": still here\n\n"
    assert time.monotonic() - started < 5
    answer.close()


def test_a_reader_who_saw_it_begin_is_not_told_so_again(client: FlaskClient, system: System) -> None:
    job = queued(client)
    lease = claimed(system)
    pieces = follow(client, job).iter_encoded()
    begun = parse(next(pieces) + next(pieces))
    system.jobs.finish(lease, VIDEO)
    rest = parse(b"".join(pieces))

    assert kinds(begun) == ["created", "in_progress"]
    assert kinds(rest) == [*BEFORE[3:], *TEXT, *AFTER]


def test_two_processes_give_an_event_the_same_number(client: FlaskClient, system: System, worker: Worker) -> None:
    other = create_app(system).test_client()
    job = queued(client, model="slow", provider_options={"video": {"steps": 10}})
    with reading(follow(client, job)) as here, reading(follow(other, job)) as there:
        pass
    told = [{event["sequence_number"]: event for event in parse(b"".join(pieces[:-1]))} for pieces in (here, there)]

    both = told[0].keys() & told[1].keys()
    assert len(both) >= 6
    assert all(told[0][number]["type"] == told[1][number]["type"] for number in both)
    assert [told[0][n] for n in sorted(told[0])][-5:] == [told[1][n] for n in sorted(told[1])][-5:]


def test_a_slow_reader_misses_what_was_in_between_and_gets_what_is(client: FlaskClient, system: System) -> None:
    job = queued(client)
    lease = claimed(system)
    pieces = follow(client, job).iter_encoded()
    first = parse(next(pieces) + next(pieces))
    for step in range(50):
        system.jobs.report(lease, Progress(Phase.STEP, step, 50, step))
    later = parse(next(pieces))

    assert kinds(first) == ["created", "in_progress"]
    assert [event["response"]["progress"] for event in later] == [49]


def test_a_job_that_lost_its_engine_is_told_as_queued_again(client: FlaskClient, system: System) -> None:
    job = queued(client)
    pieces = follow(client, job).iter_encoded()
    told = parse(next(pieces) + next(pieces))
    lease = claimed(system)
    told += parse(next(pieces))
    system.jobs.release(lease)
    told += parse(next(pieces))

    assert kinds(told) == ["created", "queued", "in_progress", "queued"]
    assert numbers(told) == sorted(set(numbers(told)))


REFUSED = {
    "a mismatch": ({"model": "image"}, 400, "modality_mismatch"),
    "an unknown model": ({"model": "none"}, 404, "model_not_found"),
    "an unknown option": ({"provider_options": {"video": {"frames": 3}}}, 400, "unknown_parameter"),
    "no prompt": ({"input": ""}, 400, "missing_required_parameter"),
}


@pytest.mark.parametrize(("body", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_is_refused_before_the_stream(
    client: FlaskClient, system: System, body: dict[str, object], status: int, code: str
) -> None:
    answer = ask(client, **body)

    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    assert answer.get_json()["error"]["code"] == code
    assert system.jobs.newest() == 0


@pytest.mark.parametrize("query", ["stream=perhaps", "stream=true&starting_after=-1", "stream=true&starting_after=x"])
def test_a_query_that_makes_no_sense_is_refused(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/v1/responses/resp_{queued(client)}?{query}")

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_value")


def test_an_unknown_response_has_no_stream(client: FlaskClient) -> None:
    answer = follow(client, "0" * 32)

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_found")


def test_streams_take_the_places_of_those_who_wait(system: System) -> None:
    client = app_with(system, threads=33).test_client()
    job = queued(client)
    first = follow(client, job)
    next(first.iter_encoded())
    refused = follow(client, job)
    first.close()
    again = follow(client, job)

    assert (refused.status_code, refused.get_json()["error"]["code"]) == (429, "too_many_waiters")
    assert again.status_code == 200
    again.close()


def test_a_place_is_free_again_after_each_stream(system: System, worker: Worker) -> None:
    client = app_with(system, threads=33).test_client()

    assert [kinds(read(ask(client)))[-1] for _ in range(3)] == ["completed"] * 3


def test_head_of_a_stream_is_the_head_of_the_response(client: FlaskClient) -> None:
    answer = client.head(f"/v1/responses/resp_{queued(client)}?stream=true")

    assert (answer.status_code, answer.mimetype) == (200, "application/json")


def test_a_stream_in_the_background_is_a_stream(client: FlaskClient, worker: Worker) -> None:
    events = read(ask(client, background=True))

    assert events[-1]["type"] == "response.completed"
    assert events[0]["response"]["background"] is True


def test_an_older_job_that_is_none_of_ours_can_be_followed(client: FlaskClient, system: System, worker: Worker) -> None:
    """A job of the Videos API has a presentation of its own."""
    job = queued(client)
    made(client, job)
    found = system.jobs.get(job, "local")
    assert isinstance(found, Job)
    bare = system.jobs.add(replace(found, id="1" * 32, presentation=Presentation(), artifact=None, failure=None))
    with reading(follow(client, bare.id)) as pieces:
        pass

    last = parse(b"".join(pieces[:-1]))[-1]
    assert last["type"] == "response.completed"
    assert last["response"]["background"] is True
