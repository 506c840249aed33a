"""The cost of hundreds of event streams: memory, and latency of other requests."""

import http.client
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

from bench.tools.health import LOOK_SECONDS, look, repeated
from bench.tools.processes import cpu_seconds, memory, web_workers
from bench.tools.server import Server, request_body, serve
from bench.tools.table import Figure, Row, spread

STREAMS = 200
STEPS = 8
SMALL = "defaults: {width: 64, height: 64, num_frames: 17, frames_per_second: 8, steps: 8, negative_prompt: ''}"
MODELS = f"""
models:
  still: {{backend: still, modality: t2v, options: {{step_seconds: 0.01}}, {SMALL}}}
  ahead: {{backend: still, modality: t2v, options: {{step_seconds: 1}}, {SMALL}, limits: {{steps: 1000}}}}
"""
PATIENCE_SECONDS = 300


def measure() -> Figure:
    with serve(MODELS) as server:
        workers = web_workers(server)
        with server.connect() as client:
            client.make("still")
            ahead = json.loads(client.post(request_body("ahead", background=True, **_steps(1000)))[1])
        before = sum(map(memory, workers))
        cpu = sum(map(cpu_seconds, workers))
        with ThreadPoolExecutor(STREAMS) as threads, _watched(server, workers) as (health, sizes):
            opened = Barrier(STREAMS + 1)
            readers = [threads.submit(_read, server.port, opened) for _ in range(STREAMS)]
            opened.wait(PATIENCE_SECONDS)
            held = sum(map(memory, workers)) - before
            started = time.perf_counter()
            with server.connect() as client:
                client.send("POST", f"/v1/responses/{ahead['id']}/cancel")
            events = [reader.result(PATIENCE_SECONDS) for reader in readers]
            taken = time.perf_counter() - started
        used = sum(map(cpu_seconds, workers)) - cpu
    return Figure(
        "streams",
        f"{STREAMS} event streams at once, each of a job of its own, on the default web processes",
        (
            Row("memory added while all are open", held / 2**20, "MB", 100),
            Row("memory added at most", (max(sizes) - before) / 2**20, "MB", 100),
            *spread("/healthz meanwhile, kept connection", health, p99=50),
            Row("streams that ended with response.completed", len(events)),
            Row("events of a stream, mean", sum(events) / len(events)),
            Row("from the first job's start to the last stream's end", taken, "s"),
            Row("CPU of the web processes, per stream", used / STREAMS * 1000, "ms"),
        ),
        (f"{STEPS} steps of 10 ms a job; client, engine and server share the cores",),
    )


def _read(port: int, opened: Barrier) -> int:
    """Read a stream to its end once all are open; count its events."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    body = request_body("still", stream=True, **_steps(STEPS))
    connection.request("POST", "/v1/responses", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    first = answer.readline()
    opened.wait(PATIENCE_SECONDS)
    data = first + answer.read()
    if answer.status != 200 or b"event: response.completed" not in data or not data.endswith(b"data: [DONE]\n\n"):
        sys.exit(f"a stream answered {answer.status} and ended with {data[-500:]!r}")
    return data.count(b"event: ")


def _steps(steps: int) -> dict[str, object]:
    return {"provider_options": {"video": {"steps": steps}}}


@contextmanager
def _watched(server: Server, workers: tuple[int, ...]) -> Iterator[tuple[list[float], list[int]]]:
    health: list[float] = []
    sizes: list[int] = []
    with server.connect() as client:

        def read() -> None:
            health.append(look(client))
            sizes.append(sum(map(memory, workers)))

        with repeated(read, LOOK_SECONDS):
            yield health, sizes
