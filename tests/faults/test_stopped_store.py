"""A real server and its PostgreSQL: stopped, killed, or started later."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from support.jobs import ask, attempts, completed, in_phase
from support.patience import until
from support.postgresql import Postgres
from support.server import FRAMEGATE, ROOT, Server, free_port

from router.jobs import open_database

pytestmark = pytest.mark.slow
STOPPED_INSIDE = """
import os, signal, sys
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from router.errors import is_outage, reason
from router.jobs import open_database

store = open_database(sys.argv[1])
try:
    with store.write() as db:
        print("inside", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        db.execute(text("SELECT 1"))
except SQLAlchemyError as error:
    print(is_outage(error), reason(error), flush=True)
with store.write() as db:
    print(db.execute(text("SELECT 'goes on'")).scalar_one(), flush=True)
"""


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """Run a server of this test alone, with a database `jobs`."""
    server = Postgres()
    server.start()
    server.create("jobs")
    yield server
    server.close()


def runs_through(server: Server, outage: Callable[[], None]) -> None:
    """Check that a running job and a waiting request outlast an outage."""
    body = {"model": "slow", "input": "a", "provider_options": {"video": {"steps": 40}}}
    with ThreadPoolExecutor() as threads:
        job = ask(server, "slow", steps=40)
        in_phase(server, job, "step", 5)
        waiting = threads.submit(server.call, "/v1/responses", body)
        server.until(lambda: len(server.call("/v1/videos")[1]["data"]) == 2)
        engine, workers = server.engine(), server.master().children()
        outage()
        server.until(lambda: server.call("/readyz")[0] == 200)
        status, answer = waiting.result(120)
        assert (status, answer["status"]) == (200, "completed")
        assert completed(server, job)
    assert [attempts(server, each) for each in (answer, job)] == [["1.mp4"], ["1.mp4"]]
    assert server.engine() == engine
    assert server.master().children() == workers
    assert "Traceback" not in server.log.read_text()


def test_a_store_that_stands_still_for_4_seconds(start: Callable[..., Server], own_postgres: Postgres) -> None:
    server = start(store=own_postgres.url("jobs"))

    def pause() -> None:
        own_postgres.pause()
        with ThreadPoolExecutor() as threads:
            late = threads.submit(server.call, "/v1/videos")
            time.sleep(4)
            assert not late.done()
            own_postgres.resume()
            assert late.result(60)[0] == 200

    runs_through(server, pause)


def test_a_store_that_stands_still_for_20_seconds(start: Callable[..., Server], own_postgres: Postgres) -> None:
    server = start(store=own_postgres.url("jobs"))

    def pause() -> None:
        own_postgres.pause()
        began = time.monotonic()
        status, answer = server.call("/v1/videos")
        assert (status, answer["error"]["code"]) == (503, "store_unavailable")
        assert server.call("/healthz")[0] == 200
        assert server.call("/readyz")[1]["status"] == "store unavailable"
        time.sleep(max(began + 20 - time.monotonic(), 0))
        own_postgres.resume()

    runs_through(server, pause)


def test_a_store_that_is_killed_and_started_again(start: Callable[..., Server], own_postgres: Postgres) -> None:
    server = start(store=own_postgres.url("jobs"))

    def kill() -> None:
        own_postgres.stop("immediate")
        status, answer = server.call("/v1/responses", {"model": "good", "input": "a", "background": True})
        assert (status, answer["error"]["code"]) == (503, "store_unavailable")
        own_postgres.start()

    runs_through(server, kill)


def test_a_server_that_starts_before_its_store(
    own_postgres: Postgres, tmp_path: Path, models: str, plugins: str
) -> None:
    own_postgres.stop()
    server, log = _unready(tmp_path, models, plugins, own_postgres.url("jobs"))
    try:
        until(lambda: "cannot be used now" in log.read_text())
        own_postgres.start()
        server.ready()
        assert completed(server, ask(server, "good"))
        assert log.read_text().count("cannot be used now") == 1
    finally:
        server.stop()


def test_a_server_that_waits_for_its_store_stops_at_once(
    own_postgres: Postgres, tmp_path: Path, models: str, plugins: str
) -> None:
    own_postgres.stop()
    server, log = _unready(tmp_path, models, plugins, own_postgres.url("jobs"))
    until(lambda: "cannot be used now" in log.read_text())
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(60) in (0, -signal.SIGTERM)


def test_a_process_that_is_stopped_inside_a_write_keeps_others_for_10_seconds(postgres_url: str) -> None:
    store = open_database(postgres_url)
    command = [sys.executable, "-c", STOPPED_INSIDE, postgres_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        with store.write():  # within lock_timeout
            pass
        process.send_signal(signal.SIGCONT)
        rest = process.stdout.read()

    assert rest.startswith("True ")
    assert rest.endswith("\ngoes on\n")
    store.close()


def _unready(folder: Path, models: str, plugins: str, store: str) -> tuple[Server, Path]:
    """Start a server, ready or not; return it with its log."""
    file, log, port = folder / "models.yaml", folder / "log", free_port()
    file.write_text(models)
    known = {"data": folder / "data", "models": file, "plugins": plugins, "store": store}
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **{f"FRAMEGATE_{k.upper()}": str(v) for k, v in known.items()}}
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [*FRAMEGATE, "serve", "--port", str(port), "--device", "cpu"],
            env=environ,
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    return Server(process, port, folder / "data", log), log
