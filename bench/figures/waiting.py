"""The cost of hundreds of waiting requests: store queries, and latency of others."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread, current_thread

from flask import Flask
from sqlalchemy import Engine, event

from bench.tools.health import look
from bench.tools.processes import children, cpu_seconds, memory
from bench.tools.server import Server, query, request_body, scratch_folder, serve_web
from bench.tools.table import Figure, Row, spread
from router.settings import Settings
from router.system import assemble
from router.web import create_app
from router.web.app import Application
from router.web.waiting.waiters import TICK_SECONDS

WAITING = 500
LOOKS = 500
SECONDS = 10.0
PATIENCE_SECONDS = 60
MODELS = "models: {still: {backend: still, modality: t2v}}"


def measure() -> Figure:
    watched, looked = _queries()
    queries = watched + looked
    alone, crowded, fresh, share, memory = _health()
    return Figure(
        "waiting",
        f"{WAITING} synchronous requests that wait on one web process",
        (
            *spread("/healthz, kept connection", crowded, p99=50),
            *spread("/healthz, new connection", fresh, p99=50),
            *spread("/healthz, nobody waits", alone),
            Row("queries to the store in a tick, all the waiting together", queries * TICK_SECONDS, "", 1),
            Row("queries to the store by the watcher", watched, "/s"),
            Row("queries to the store by the waiting themselves", looked, "/s"),
            Row("share of one core that the web process takes", share * 100, "%"),
            Row("memory of the web process", memory / 2**20, "MB"),
        ),
        (
            f"a tick is {TICK_SECONDS * 1000:.0f} ms; {LOOKS} requests to /healthz each",
            f"queries counted for {SECONDS:.0f} s in which nothing happens",
        ),
    )


def _queries() -> tuple[float, float]:
    """Return the statements per second of the watcher and of all other threads."""
    with scratch_folder() as data:
        (data / "models.yaml").write_text(MODELS)
        app = create_app(assemble(Settings(data=data, models=data / "models.yaml")))
        assert isinstance(app, Application)
        threads = [Thread(target=_wait, args=[app], daemon=True) for _ in range(WAITING)]
        for thread in threads:
            thread.start()
        _until_queued(data)
        with _counting() as callers:
            time.sleep(SECONDS)
            counted = list(callers)
        app.waiting.drain()
        for thread in threads:
            thread.join()
    watched = counted.count("watcher")
    return watched / SECONDS, (len(counted) - watched) / SECONDS


def _wait(app: Flask) -> None:
    app.test_client().post("/v1/responses", data=request_body("still"), content_type="application/json")


@contextmanager
def _counting() -> Iterator[list[str]]:
    """Yield a list that receives the thread's name of each statement."""
    callers: list[str] = []

    def count(*_: object) -> None:
        callers.append(current_thread().name)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield callers
    finally:
        event.remove(Engine, "before_cursor_execute", count)


def _health() -> tuple[list[float], list[float], list[float], float, int]:
    """Return the seconds of /healthz, the CPU share and the memory in bytes.

    The seconds are those of an idle process, of a crowded one, and of new connections to a crowded one.
    """
    with scratch_folder() as data, serve_web(data, MODELS, workers=1) as server, ExitStack() as crowd:
        with server.connect() as client:
            alone = [look(client) for _ in range(LOOKS)]
        for _ in range(WAITING):
            crowd.enter_context(ask(server.port))
        _until_queued(data)
        worker = children(server.process.pid)[0]
        before = cpu_seconds(worker)
        time.sleep(SECONDS)
        share = (cpu_seconds(worker) - before) / SECONDS
        with server.connect() as client:
            crowded = [look(client) for _ in range(LOOKS)]
        fresh = [_look_once(server) for _ in range(LOOKS)]
        return alone, crowded, fresh, share, memory(worker)


def ask(port: int) -> socket.socket:
    body = request_body("still")
    host, kind = "localhost", "application/json"
    head = f"POST /v1/responses HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}"
    caller = socket.create_connection(("127.0.0.1", port))
    caller.sendall(f"{head}\r\n\r\n".encode() + body)
    return caller


def _look_once(server: Server) -> float:
    started = time.perf_counter()
    with server.connect() as client:
        look(client)
    return time.perf_counter() - started


def _until_queued(data: Path) -> None:
    """Wait until every request has its job, and a second more for the last."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    queued = 0
    while queued < WAITING:
        if time.monotonic() > deadline:
            sys.exit(f"{WAITING} requests should wait, only {queued} do")
        time.sleep(0.2)
        ((queued,),) = query(data, "SELECT count(*) FROM jobs WHERE status = 'queued'")
    time.sleep(1)
