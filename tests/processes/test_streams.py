"""Streams and waits over real connections, with slow readers, disconnects, restarts."""

import json
import sqlite3
import time
from collections.abc import Callable

import openai
import psutil
import pytest
from support.patience import watch
from support.server import Server
from support.sse import kinds, numbers, parse
from support.streams import (
    MODELS,
    body_of,
    body_of_request,
    first_id,
    follow,
    sdk_of,
    second_web,
    status,
    stream,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Pydantic serializer"),  # of the SDK, about part types that it does not know
]

Serve = Callable[..., Server]


def test_white_space_goes_out_while_a_long_answer_is_made(serve: Serve) -> None:
    server = serve(MODELS, silent_seconds=0.5, pad_seconds=0.3)
    with watch() as silence:
        connection = stream(server.port, body_of_request(steps=20, stream=False))
        connection.read_until(b"\r\n\r\n1\r\n \r\n")
    body = body_of(connection.read_all())

    assert silence.seconds < 1.5
    assert b"transfer-encoding: chunked" in connection.data.lower()
    assert 3 <= len(body) - len(body.lstrip()) <= 9
    assert json.loads(body)["status"] == "completed"


@pytest.mark.parametrize("streams", [True, False])
def test_a_caller_who_leaves_cancels_the_job(shared: Server, streams: bool) -> None:
    before = newest(shared)
    connection = stream(shared.port, body_of_request(steps=100, stream=streams))
    shared.until(lambda: newest(shared) != before)
    response = newest(shared)
    shared.in_step({"id": response})
    connection.close()

    shared.until(lambda: status(shared, response) == "cancelled")
    assert shared.call("/v1/responses", {"model": "text", "input": "next"})[0] == 200


def newest(server: Server) -> str:
    """Return the last response from the store."""
    with sqlite3.connect(f"file:{server.data / 'jobs.sqlite'}?mode=ro", uri=True) as db:
        found = db.execute("SELECT id FROM jobs ORDER BY seq DESC LIMIT 1").fetchone()
    return f"resp_{found[0]}" if found else ""


def test_a_client_that_gives_up_cancels_the_job(shared: Server) -> None:
    with pytest.raises(openai.APITimeoutError):
        sdk_of(shared, timeout=1.0).responses.create(
            model="slow", input="a", extra_body={"provider_options": {"video": {"steps": 100}}}
        )

    shared.until(lambda: status(shared, newest(shared)) == "cancelled")


@pytest.mark.parametrize(
    ("more", "headers"), [({"store": True}, {}), ({"background": True}, {}), ({}, {"Idempotency-Key": "k"})]
)
def test_a_job_that_was_to_be_kept_goes_on_without_its_caller(shared: Server, more: dict, headers: dict) -> None:
    options = {"provider_options": {"video": {"steps": 20}}}
    streamed = sdk_of(shared).responses.create(
        model="slow", input="a", stream=True, extra_headers=headers, extra_body=options, **more
    )
    response = next(streamed).response
    streamed.close()

    assert shared.finished({"id": response.id})["status"] == "completed"


def test_two_readers_on_two_processes_see_one_stream(serve: Serve) -> None:
    server = serve(MODELS, workers=1)
    with second_web(server) as port:
        here = stream(server.port, body_of_request(steps=15))
        there = follow(port, first_id(here))
        streamed = [parse(body_of(reader.read_all())) for reader in (here, there)]

    by_number = [{event["sequence_number"]: event["type"] for event in events} for events in streamed]
    both = by_number[0].keys() & by_number[1].keys()
    assert len(both) >= 7
    assert all(by_number[0][number] == by_number[1][number] for number in both)
    assert [kinds(events)[-5:] for events in streamed] == [
        ["output_item.added", "content_part.added", "content_part.done", "output_item.done", "completed"]
    ] * 2
    assert all(numbers(events) == sorted(set(numbers(events))) for events in streamed)


def test_a_stream_goes_on_at_another_process(serve: Serve) -> None:
    server = serve(MODELS, workers=1)
    with second_web(server) as port:
        begun = stream(server.port, body_of_request(steps=20, background=True))
        response = first_id(begun)
        begun.read_until(b'"progress":9')
        begun.close()
        seen = parse(body_of(begun.data)[: body_of(begun.data).rindex(b"\n\n") + 2])
        rest = parse(body_of(follow(port, response, after=numbers(seen)[-1]).read_all()))

    assert numbers([*seen, *rest]) == sorted(set(numbers([*seen, *rest])))
    assert kinds(rest)[-1] == "completed"


def test_a_job_goes_on_while_another_process_waits_for_it(serve: Serve) -> None:
    server = serve(MODELS, workers=1, leave_seconds=0.4)
    with second_web(server, leave_seconds=0.4) as port:
        here = stream(server.port, body_of_request(steps=100))
        there = follow(port, first_id(here))
        response = first_id(there)
        here.close()
        time.sleep(1.5)
        assert status(server, response) == "in_progress"
        there.close()
        server.until(lambda: status(server, response) == "cancelled")


def test_a_slow_reader_harms_nobody_and_costs_nothing(serve: Serve) -> None:
    server = serve(MODELS, workers=1)
    large = {"tools": [{"type": "function", "name": "f", "description": "x" * 200_000}]}
    (web,) = server.master().children()
    server.call("/v1/responses", {"model": "text", "input": "a"})
    before = psutil.Process(web.pid).memory_info().rss
    slow = [
        stream(server.port, body_of_request(steps=100, background=True, **large), receive_buffer=4096) for _ in range(4)
    ]
    response = first_id(slow[0])
    with watch() as took:
        server.in_step({"id": response}, 90)
        quick = server.call("/healthz")
        growth = psutil.Process(web.pid).memory_info().rss - before
        others = [follow(server.port, response) for _ in range(3)]
        ends = [other.read_all() for other in others]

    assert quick[0] == 200
    assert growth < 30 * 2**20
    assert all(b"response.completed" in end for end in ends)
    assert took.seconds < 60
    events = parse(body_of(slow[0].read_all()))
    assert kinds(events)[-1] == "completed"
    assert len(events) < 60  # of 100 steps; what came while it did not read is told no more
    for connection in slow:
        connection.close()


def test_a_stop_ends_streams_and_the_next_start_goes_on(serve: Serve) -> None:
    server = serve(MODELS)
    begun = stream(server.port, body_of_request(steps=60, background=True))
    response = first_id(begun)
    begun.read_until(b'"progress":9')
    assert server.stop() < 10
    data = begun.read_all()
    events = parse(body_of(data))
    again = serve(MODELS)
    rest = parse(body_of(follow(again.port, response, after=numbers(events)[-1]).read_all()))

    assert b"[DONE]" not in data
    assert f": to be continued at GET /v1/responses/{response}".encode() in data
    assert numbers([*events, *rest]) == sorted(set(numbers([*events, *rest])))
    assert kinds(rest)[-1] == "completed"


def test_a_stop_waits_for_no_reader_who_does_not_read(serve: Serve) -> None:
    server = serve(MODELS)
    large = {"tools": [{"type": "function", "name": "f", "description": "x" * 250_000}]}
    stuck = stream(server.port, body_of_request(steps=100, background=True, **large), receive_buffer=4096)
    response = first_id(stuck)
    server.in_step({"id": response}, 60)

    assert server.stop() < 4
    assert "did not stop in time" not in server.log.read_text()
    stuck.close()


def test_a_stop_cancels_nothing(serve: Serve) -> None:
    server = serve(MODELS, leave_seconds=0.2)
    begun = stream(server.port, body_of_request(steps=40))
    response = first_id(begun)
    server.in_step({"id": response})
    server.stop()
    begun.close()
    again = serve(MODELS, leave_seconds=0.2)

    assert again.finished({"id": response})["status"] == "completed"


def test_refusals_come_before_the_stream(shared: Server) -> None:
    status, body = shared.call("/v1/responses", body_of_request(model="none"))

    assert (status, body["error"]["code"]) == (404, "model_not_found")
