"""Streams and waits over real connections, with slow readers, disconnects, restarts."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openai
import psutil
import pytest
from support.patience import watch
from support.server import ROOT, Server, free_port, serve_in
from support.sse import kinds, numbers, parse

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Pydantic serializer"),  # of the SDK, about part types that it does not know
]

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 20, negative_prompt: ''}"
MODELS = f"""
models:
  text: {{backend: still, modality: t2v, {SMALL}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.1}}, {SMALL}}}
"""
Serve = Callable[..., Server]


class Connection:
    """One HTTP exchange, byte by byte."""

    def __init__(self, port: int, method: str, path: str, body: Any = None, receive_buffer: int = 0) -> None:
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", port))
        data = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
        self._socket.sendall(f"{head}\r\n\r\n".encode() + data)
        self.data = b""

    def read_until(self, what: bytes) -> None:
        while what not in self.data:
            piece = self._socket.recv(65536)
            assert piece, f"{what!r} should come, but the connection ended after {self.data[-2000:]!r}"
            self.data += piece

    def read_all(self) -> bytes:
        """Return everything up to the end of the answer."""
        self.read_until(b"\r\n0\r\n\r\n")
        return self.data

    def close(self) -> None:
        self._socket.close()


def body_of(data: bytes) -> bytes:
    """Return the body of a chunked answer."""
    rest, body = data.split(b"\r\n\r\n", 1)[1], b""
    while rest:
        size, rest = rest.split(b"\r\n", 1)
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        if size == b"0":
            break
    return body


def asked(model: str = "slow", steps: int = 20, **more: Any) -> dict[str, Any]:
    return {"model": model, "input": "a", "stream": True, "provider_options": {"video": {"steps": steps}}, **more}


def stream(port: int, body: dict[str, Any], **more: Any) -> Connection:
    return Connection(port, "POST", "/v1/responses", body, **more)


def follow(port: int, response: str, after: int = -1) -> Connection:
    more = f"&starting_after={after}" if after >= 0 else ""
    return Connection(port, "GET", f"/v1/responses/{response}?stream=true{more}")


def first_id(connection: Connection) -> str:
    connection.read_until(b'"status":')
    return "resp_" + connection.data.split(b'"id":"resp_')[1][:32].decode()


def status(server: Server, response: str) -> str:
    return server.call(f"/v1/responses/{response}")[1]["status"]


@contextmanager
def second_web(server: Server, **settings: object) -> Iterator[int]:
    """Run another web half on a server's data; yield its port."""
    port = free_port()
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "FRAMEGATE_DATA": str(server.data), "FRAMEGATE_WORKERS": "1"}
    environ |= {"FRAMEGATE_MODELS": str(server.data.parent / "models.yaml"), "FRAMEGATE_NO_AUTH": "1"}
    environ |= {f"FRAMEGATE_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "gunicorn", "-c", "router/deploy/gunicorn.conf.py", "-b", f"127.0.0.1:{port}"]
    web = subprocess.Popen([*command, "--graceful-timeout", "5", "wsgi:app"], env=environ, cwd=ROOT)
    other = Server(web, port, server.data, server.log)
    try:
        other.until(lambda: other.call("/healthz")[0] == 200)
        yield port
    finally:
        web.terminate()
        web.wait(20)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server for all readers."""
    server = serve_in(tmp_path_factory.mktemp("streams"), MODELS, leave_seconds=0.5)
    yield server
    server.stop()


@pytest.fixture
def sdk(shared: Server) -> openai.OpenAI:
    return sdk_of(shared)


def sdk_of(server: Server, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0, **more)


def test_the_sdk_iterates_over_a_stream(sdk: openai.OpenAI) -> None:
    options = {"provider_options": {"video": {"steps": 10}}}
    events = list(sdk.responses.create(model="slow", input="a", stream=True, extra_body=options))

    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output[0].content[0].video_url.startswith("/v1/videos/video_")
    assert len({event.response.progress for event in events if event.type == "response.in_progress"}) >= 3


@pytest.mark.parametrize("options", [{}, {"provider_options": {"video": {}}}, {"provider_options": {"image": {}}}])
def test_the_sdks_stream_helper_gives_the_final_response(sdk: openai.OpenAI, options: dict) -> None:
    with sdk.responses.stream(model="text", input="a", extra_body=options) as told:
        types = [event.type for event in told]
        final = told.get_final_response()

    assert types[0] == "response.created"
    assert final.status == "completed"
    part = final.output[0].content[0]
    assert (final.output_text or getattr(part, "video_url", None) or part.image_url).startswith("/v1/")


def test_the_sdks_stream_helper_gives_a_function_call(sdk: openai.OpenAI) -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
    with sdk.responses.stream(model="text", input="a", tools=[tool]) as told:
        final = told.get_final_response()

    assert (final.output[0].type, final.output[0].name, final.output[0].arguments) == ("function_call", "f", "{}")


def test_the_sdk_picks_a_stream_up_again(sdk: openai.OpenAI) -> None:
    options = {"provider_options": {"video": {"steps": 20}}}
    begun = sdk.responses.create(model="slow", input="a", stream=True, background=True, extra_body=options)
    seen = [next(begun) for _ in range(4)]
    begun.close()
    response, last = seen[0].response.id, seen[-1].sequence_number
    rest = list(sdk.responses.retrieve(response, stream=True, starting_after=last))
    with sdk.responses.stream(response_id=response, starting_after=last) as told:
        again = [event.sequence_number for event in told]
        final = told.get_final_response()

    assert rest[0].sequence_number > last
    assert rest[-1].type == "response.completed"
    assert final.id == response
    assert again[-5:] == [event.sequence_number for event in rest][-5:]


def test_the_sdk_sees_a_cancelled_stream_end(sdk: openai.OpenAI) -> None:
    options = {"provider_options": {"video": {"steps": 60}}}
    told = sdk.responses.create(model="slow", input="a", stream=True, extra_body=options)
    response = next(told).response.id
    sdk.responses.cancel(response)
    last = list(told)[-1]

    assert (last.type, last.response.status) == ("response.incomplete", "cancelled")
    assert last.response.incomplete_details.reason == "cancelled"


def test_the_sdk_lists_the_input(sdk: openai.OpenAI) -> None:
    made = sdk.responses.create(model="text", input="a cat", background=True)
    items = list(sdk.responses.input_items.list(made.id, order="asc", include=["message.input_image.image_url"]))

    assert [item.content[0].text for item in items] == ["a cat"]


def test_white_space_goes_out_while_a_long_answer_is_made(serve: Serve) -> None:
    server = serve(MODELS, silent_seconds=0.5, pad_seconds=0.3)
    with watch() as silence:
        connection = stream(server.port, asked(steps=20, stream=False))
        connection.read_until(b"\r\n\r\n1\r\n \r\n")
    body = body_of(connection.read_all())

    assert silence.seconds < 1.5
    assert b"transfer-encoding: chunked" in connection.data.lower()
    assert 3 <= len(body) - len(body.lstrip()) <= 9
    assert json.loads(body)["status"] == "completed"


def test_a_padded_answer_is_an_answer_to_the_sdk(serve: Serve) -> None:
    server = serve(MODELS, silent_seconds=0.2, pad_seconds=0.2)
    answer = sdk_of(server, timeout=1.5).responses.create(
        model="slow", input="a", extra_body={"provider_options": {"video": {"steps": 25}}}
    )

    assert answer.status == "completed"


@pytest.mark.parametrize("streams", [True, False])
def test_a_caller_who_leaves_cancels_the_job(shared: Server, streams: bool) -> None:
    before = newest(shared)
    connection = stream(shared.port, asked(steps=100, stream=streams))
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
def test_a_job_that_was_to_be_kept_goes_on_without_its_caller(
    shared: Server, sdk: openai.OpenAI, more: dict, headers: dict
) -> None:
    options = {"provider_options": {"video": {"steps": 20}}}
    told = sdk.responses.create(model="slow", input="a", stream=True, extra_headers=headers, extra_body=options, **more)
    response = next(told).response
    told.close()

    assert shared.finished({"id": response.id})["status"] == "completed"


def test_two_readers_on_two_processes_see_one_stream(serve: Serve) -> None:
    server = serve(MODELS, workers=1)
    with second_web(server) as port:
        here = stream(server.port, asked(steps=15))
        there = follow(port, first_id(here))
        told = [parse(body_of(reader.read_all())) for reader in (here, there)]

    by_number = [{event["sequence_number"]: event["type"] for event in events} for events in told]
    both = by_number[0].keys() & by_number[1].keys()
    assert len(both) >= 7
    assert all(by_number[0][number] == by_number[1][number] for number in both)
    assert [kinds(events)[-5:] for events in told] == [
        ["output_item.added", "content_part.added", "content_part.done", "output_item.done", "completed"]
    ] * 2
    assert all(numbers(events) == sorted(set(numbers(events))) for events in told)


def test_a_stream_goes_on_at_another_process(serve: Serve) -> None:
    server = serve(MODELS, workers=1)
    with second_web(server) as port:
        begun = stream(server.port, asked(steps=20, background=True))
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
        here = stream(server.port, asked(steps=100))
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
    slow = [stream(server.port, asked(steps=100, background=True, **large), receive_buffer=4096) for _ in range(4)]
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
    begun = stream(server.port, asked(steps=60, background=True))
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
    stuck = stream(server.port, asked(steps=100, background=True, **large), receive_buffer=4096)
    response = first_id(stuck)
    server.in_step({"id": response}, 60)

    assert server.stop() < 4
    assert "did not stop in time" not in server.log.read_text()
    stuck.close()


def test_a_stop_cancels_nothing(serve: Serve) -> None:
    server = serve(MODELS, leave_seconds=0.2)
    begun = stream(server.port, asked(steps=40))
    response = first_id(begun)
    server.in_step({"id": response})
    server.stop()
    begun.close()
    again = serve(MODELS, leave_seconds=0.2)

    assert again.finished({"id": response})["status"] == "completed"


def test_refusals_come_before_the_stream(shared: Server) -> None:
    status, body = shared.call("/v1/responses", asked(model="none"))

    assert (status, body["error"]["code"]) == (404, "model_not_found")
