"""A web worker killed in the middle of a request: the job goes on."""

import http.client
import json
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from conftest import data_url, png, with_image
from support.books import books
from support.jobs import completed, locked, web_workers
from support.server import Server
from support.sse import kinds, parse

pytestmark = pytest.mark.slow
SETTINGS = {"leave_seconds": 0.5}
CUT = (OSError, http.client.HTTPException)  # what a caller gets whose connection ends
STEPS = {"video": {"steps": 30}}


def send(server: Server, **more: Any) -> bytes:
    """Send a request for a video and return the answer's bytes."""
    body = json.dumps({"model": "slow", "input": "a", "provider_options": STEPS, **more}).encode()
    url = f"http://127.0.0.1:{server.port}/v1/responses"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def kill_web_workers(server: Server) -> None:
    for worker in web_workers(server):
        worker.kill()
        worker.wait(10)


def newest(server: Server) -> dict[str, Any]:
    video = server.call("/v1/videos?limit=1")[1]["data"][0]
    return {"id": video["id"].replace("video", "resp")}


def running(server: Server, answer: Future[bytes], before: int) -> dict[str, Any]:
    """Wait for the first step of the only job, and return that job."""
    server.until(lambda: len(server.call("/v1/videos?limit=100")[1]["data"]) > before)
    job = newest(server)
    server.in_step(job)
    assert not answer.done()
    return job


def count(server: Server) -> int:
    return len(server.call("/v1/videos?limit=100")[1]["data"])


def test_a_web_worker_killed_in_mid_request(server: Server) -> None:
    with ThreadPoolExecutor() as threads:
        before = count(server)
        answer = threads.submit(send, server)
        job = running(server, answer, before)
        kill_web_workers(server)
        with pytest.raises(CUT):
            answer.result(10)

    assert completed(server, job)
    assert books(server).strays == 0


def test_a_web_worker_killed_in_mid_stream(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/v1/responses"
    body = json.dumps({"model": "slow", "input": "a", "stream": True, "provider_options": STEPS}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    seen = b""
    with urllib.request.urlopen(request, timeout=60) as stream:
        while b"response.in_progress" not in seen or not seen.endswith(b"\n\n"):
            line = stream.readline()
            assert line, seen
            seen += line
        kill_web_workers(server)
        with pytest.raises(CUT):
            stream.read()
    events = parse(seen)
    job = events[0]["response"]
    server.ready()
    rest = server.fetch(f"/v1/responses/{job['id']}?stream=true&starting_after={events[-1]['sequence_number']}")

    assert rest.endswith(b"data: [DONE]\n\n")
    assert kinds(parse(rest))[-1] == "completed"
    assert books(server).strays == 0


def test_a_web_worker_killed_between_input_and_row(server: Server) -> None:
    before = count(server)
    with ThreadPoolExecutor() as threads:
        with locked(server.data):  # so that it waits with the input written
            image = with_image("a", data_url(png()))
            answer = threads.submit(send, server, model="image", input=image, provider_options={"video": {}})
            server.until(lambda: list((server.data / "inputs").glob("*/0")))
            kill_web_workers(server)
        with pytest.raises(CUT):
            answer.result(10)
    server.ready()

    assert count(server) == before
    assert books(server).strays == 1
    again = json.loads(send(server, model="image", input=image, provider_options={"video": {}}))
    assert again["status"] == "completed"
    assert books(server).strays == 0
