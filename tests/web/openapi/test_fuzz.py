"""Generated requests of concurrent callers: no 5xx, no traceback, no orphan.

`REQUESTS=10000` makes a longer run, `SEED=7` another one.
"""

import logging
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.contract import Contract, closed
from support.fuzz import Asked, Fuzzer
from werkzeug.test import TestResponse

from router.engine.worker import Worker
from router.settings import Settings
from router.system import System
from router.web import create_app

pytestmark = pytest.mark.slow

REQUESTS = int(os.environ.get("REQUESTS", 600))
SEED = int(os.environ.get("SEED", 1))
CALLERS = 4


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, leave_seconds=0.3, heartbeat_seconds=0.5)


@pytest.fixture
def app(system: System, worker: Worker) -> Flask:
    return create_app(system)


class Caller:
    """Sends what one fuzzer makes, and holds each answer against the document."""

    def __init__(self, app: Flask, contract: Contract, seed: int, ids: list[str]) -> None:
        self._client = app.test_client()
        self._contract = contract
        self._ids = ids
        self._fuzzer = Fuzzer(seed, ids)
        self.seen: Counter[tuple[str, int]] = Counter()
        self.problems: list[str] = []

    def run(self, count: int) -> Counter[tuple[str, int]]:
        for number in range(count):
            asked = self._fuzzer.ask()
            try:
                self._send(asked, leaves=number % 7 == 0)
            except Exception as error:
                self.problems.append(f"{error!r:.1000}: {asked!r:.3000}")
        return self.seen

    def _send(self, asked: Asked, *, leaves: bool) -> None:
        answer = self._client.open(
            asked.path, method=asked.method, query_string=asked.query, headers=asked.headers, data=asked.body
        )
        self.seen[asked.method, answer.status_code] += 1
        if leaves and answer.is_streamed:
            next(iter(answer.response), None)
            answer.close()
            return
        assert answer.status_code < 500, answer.get_data()[:500]
        self._contract.hold(asked.method, unquote(answer.request.path), answer)
        self._remember(answer)

    def _remember(self, answer: TestResponse) -> None:
        body = (
            answer.get_json(silent=True)
            if answer.status_code == 200 and answer.mimetype == "application/json"
            else None
        )
        if isinstance(body, dict) and str(body.get("id")).startswith(("resp_", "video_")):
            self._ids.append(str(body["id"]).partition("_")[2])


def test_nothing_breaks_the_server_and_nothing_is_left(
    app: Flask, system: System, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    client, ids = app.test_client(), list[str]()
    contract = Contract(closed(client.get("/openapi.json").get_json()))
    callers = [Caller(app, contract, SEED * CALLERS + number, ids) for number in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(lambda caller: caller.run(REQUESTS // CALLERS), callers))
    seen = sum((caller.seen for caller in callers), Counter())
    print(f"\n{sum(seen.values())} requests, {len(set(ids))} jobs:", dict(sorted(seen.items())))

    problems = "\n\n".join(problem for caller in callers for problem in caller.problems)
    assert not problems, problems
    assert len(set(ids)) > REQUESTS / 20  # or else they were all refused
    assert [
        record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info
    ] == []
    _delete_all(client)
    _settle(worker)
    assert system.jobs.page("local", after=None, limit=10, newest_first=True) == ()
    assert _files(system.settings.data) == []


def _delete_all(client: FlaskClient) -> None:
    while videos := client.get("/v1/videos?limit=100").get_json()["data"]:
        for video in videos:
            assert client.delete(f"/v1/videos/{video['id']}").status_code in (200, 404)


def _settle(worker: Worker) -> None:
    """Let the engine come to the next report of what it works on."""
    worker.keeper.stop()
    time.sleep(2)


def _files(data: Path) -> list[Path]:
    """Every file and every empty folder of a job."""
    folders = (data / kind for kind in ("inputs", "videos", "previews"))
    return [path for folder in folders for path in folder.rglob("*")]
