"""The effect of slow senders and large bodies on other callers, without nginx."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.tools.health import repeated, watched
from bench.tools.processes import cpu_seconds, memory, web_workers
from bench.tools.server import Server, serve
from bench.tools.table import Figure, Row, spread

SLOW = 1280  # the threads of both web processes
SECONDS = 20.0
LARGE = 64 * 2**20
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}"
MODELS = f"models: {{still: {{backend: still, modality: t2v, {SMALL}}}}}"
STARTS = {
    "headers": b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nx: ",
    "bodies": b"POST /v1/nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n",
}
BODIES: dict[str, Callable[[], bytes]] = {
    "4.5 million pairs": lambda: b'{"metadata":{' + b",".join(b'"k%d":"v"' % n for n in range(4_500_000)) + b"}}",
    "22 million objects": lambda: b'{"input":[' + b"{}," * (LARGE // 3 - 10) + b"{}]}",
    "one text": lambda: b'{"model":"still","input":"' + b"a" * (LARGE - 100) + b'"}',
    "one text with an emoji": lambda: b'{"input":"' + "\U0001f600".encode() + b"a" * (LARGE - 100) + b'"}',
}


def measure() -> Figure:
    rows: list[Row] = []
    with serve(MODELS) as server:
        with watched(server.port) as health:
            time.sleep(SECONDS / 2)
        rows += spread("/healthz, nobody else", health)
        for what, start in STARTS.items():
            with _slow(server.port, SLOW, start), watched(server.port) as health:
                time.sleep(SECONDS)
            rows += spread(f"/healthz, {SLOW:,} slow callers, {what}", health, p99=100)
    with serve(MODELS, workers=1) as server:
        (worker,) = web_workers(server)
        for what, make in BODIES.items():
            rows += _refused(server, worker, what, make())
    return Figure(
        "hostile",
        f"{SLOW:,} callers who send a byte a second, and bodies of 64 MiB",
        tuple(rows),
        ("by default two web processes of 640 threads; callers, server and engine share the cores",),
    )


@contextmanager
def _slow(port: int, count: int, start: bytes) -> Iterator[None]:
    """Keep `count` callers sending a byte a second; they reconnect when they are dropped."""

    def begin() -> socket.socket:
        caller = socket.create_connection(("127.0.0.1", port), timeout=30)
        caller.send(start)
        return caller

    callers = [begin() for _ in range(count)]

    def send() -> None:
        for number, caller in enumerate(callers):
            try:
                caller.send(b"a")
            except OSError:
                caller.close()
                callers[number] = begin()

    with repeated(send, 1):
        time.sleep(3)
        yield
    for caller in callers:
        caller.close()


def _refused(server: Server, worker: int, what: str, body: bytes) -> tuple[Row, ...]:
    before, cpu, peak = memory(worker), cpu_seconds(worker), 0

    def look() -> None:
        nonlocal peak
        peak = max(peak, memory(worker))

    with repeated(look, 0.005):
        started = time.perf_counter()
        with server.connect() as client:
            client.post(body)
        taken = time.perf_counter() - started
        time.sleep(1)
    return (
        Row(f"{what}: sent and refused", taken, "s", len(body) / 10e6),
        Row(f"{what}: CPU of the web process", cpu_seconds(worker) - cpu, "s"),
        Row(f"{what}: memory at most, in bodies", (peak - before) / len(body), "", 5),
        Row(f"{what}: memory a second later, in bodies", (memory(worker) - before) / len(body), "", 0.5),
    )
