"""Reloads and restarts of the web half under load: no request is lost."""

from __future__ import annotations

import json
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from support.edge import MODELS, Site, behind_nginx, edited, framegate, half, need, nginx
from support.patience import until
from support.server import free_port

pytestmark = pytest.mark.slow

FAST = {"rate=50r/s": "rate=10000r/s"}
MAKE = json.dumps({"model": "text", "input": "a", "background": True, "provider_options": {"video": {"steps": 1}}})
SAME = {"content-type": "application/json", "idempotency-key": "load"}  # one job, however often it is asked for
ASKED = (("GET", "/healthz", None), ("GET", "/v1/models", None), ("POST", "/v1/responses", MAKE.encode()))


class Load:
    """Clients in a loop: half on persistent connections, half on new ones."""

    def __init__(self, port: int) -> None:
        self.answers: Counter[object] = Counter()
        self._port = port
        self._stop = Event()
        self._threads = [Thread(target=self._ask, args=[kept]) for kept in (True, False) * 2]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 60) -> None:
        """Wait for `count` more answers of any kind."""
        enough = self.answers.total() + count
        until(lambda: self.answers.total() >= enough)

    def _ask(self, kept: bool) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.is_set():
            for method, path, body in ASKED:
                try:
                    connection.request(method, path, body, SAME)
                    answer = connection.getresponse()
                    said = answer.read()
                    self.answers[answer.status if answer.status == 200 else (answer.status, said)] += 1
                except (OSError, HTTPException) as error:
                    self.answers[repr(error)] += 1
                    connection.close()
                if not kept:
                    connection.close()
        connection.close()


Ask = Callable[..., "Future[tuple[int, dict[str, str], bytes]]"]


@contextmanager
def waiting(port: int) -> Iterator[Ask]:
    """Yield a function to request a slow video: a future of status, headers, bytes."""

    def send(steps: int, headers: dict[str, str], more: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", port, timeout=120)
        body = {"model": "slow", "input": "a", "provider_options": {"video": {"steps": steps}}, **more}
        connection.request("POST", "/v1/responses", json.dumps(body), {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()

    with ThreadPoolExecutor() as threads:
        yield lambda steps, headers=None, **more: threads.submit(send, steps, headers or {}, more)


def begun(site: Site, count: int) -> None:
    """Wait until requests wait for `count` jobs."""
    site.until(lambda: len(awaited(site)) >= count)


def awaited(site: Site) -> list[dict[str, Any]]:
    """Return the jobs that callers wait for, without the load's."""
    return [video for video in site.call("/v1/videos?limit=100")[1]["data"] if video["model"] != "text"]


def served(site: Site) -> int:
    return site.log.read_text().count("takes requests")


def reload(site: Site) -> None:
    """Reload, and wait until the new web processes take requests."""
    before = served(site)
    site.web.send_signal(signal.SIGHUP)
    site.until(lambda: served(site) >= before + 2)


def test_a_reload_fails_no_request_and_the_waiting_get_their_videos(tmp_path: Path) -> None:
    with behind_nginx(tmp_path, FAST) as site, waiting(site.port) as ask:
        site.ready()
        waits, streamed = ask(40), ask(40, stream=True)
        begun(site, 2)
        with Load(site.port) as load:
            load.more()
            for _ in range(3):
                reload(site)
                load.more()
        status, _, body = waits.result(60)
        events = streamed.result(60)[2]

    assert set(load.answers) == {200}
    assert (status, json.loads(body)["status"]) == (200, "completed")
    assert events.endswith(b"data: [DONE]\n\n")


def test_a_reload_of_a_wrong_models_file_ends_nothing(tmp_path: Path) -> None:
    with behind_nginx(tmp_path) as site:
        site.ready()
        (tmp_path / "models.yaml").write_text("models: [")
        reload(site)

        assert "cannot be served as it is now, and what was published before goes on" in site.log.read_text()
        assert site.web.poll() is None
        assert {model["id"] for model in site.call("/v1/models")[1]["data"]} == {"text", "slow", "long"}


def test_a_stop_in_the_middle_of_a_reload_waits_for_nobody(tmp_path: Path) -> None:
    with behind_nginx(tmp_path) as site, waiting(site.port) as ask:
        site.ready()
        waits = ask(100, model="long")
        begun(site, 1)
        reload(site)
        site.web.terminate()
        status, headers, body = waits.result(30)
        site.web.wait(30)

    assert (status, json.loads(body)["error"]["code"], headers["retry-after"]) == (503, "restarting", "1")
    assert site.web.returncode == 0


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a socket of a process that outlives the web half, like systemd."""
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(tmp_path / "web.sock"))
        held.listen(1000)
        yield held


def test_a_restart_on_a_socket_that_stays_refuses_nobody(tmp_path: Path, listener: socket.socket) -> None:
    need("nginx")
    (tmp_path / "models.yaml").write_text(MODELS)
    port, log, data = free_port(), tmp_path / "framegate.log", tmp_path / "data"
    known: dict[str, Any] = {"models": tmp_path / "models.yaml", "data": data, "no_auth": 1}
    printed = framegate("deploy", "nginx", "a", "--socket", str(tmp_path / "web.sock"), "--data", str(data))
    with ExitStack() as running:
        running.enter_context(half(log, "engine", "--device", "cpu", **known))
        front = running.enter_context(nginx(tmp_path, edited(printed, {"listen 80;": f"listen {port};", **FAST})))
        web = running.enter_context(half(log, "web", listener=listener, **known))
        site = Site(front, port, data, log, web, tmp_path)
        site.ready()
        ask = running.enter_context(waiting(port))
        with Load(port) as load:
            load.more()
            plain, keyed, streamed = ask(50), ask(50, {"idempotency-key": "k"}), ask(50, stream=True)
            begun(site, 3)
            web.terminate()
            web.wait(30)
            running.enter_context(half(log, "web", listener=listener, **known))
            load.more()
        again = ask(50, {"idempotency-key": "k"}).result(60)
        jobs = awaited(site)
        ended = [site.finished({"id": job["id"].replace("video", "resp")})["status"] for job in jobs]

    assert set(load.answers) == {200}
    assert web.returncode == 0
    for answer in (plain.result(), keyed.result()):
        assert (answer[0], json.loads(answer[2])["error"]["code"], answer[1]["retry-after"]) == (503, "restarting", "1")
    assert b": to be continued at GET /v1/responses/" in streamed.result()[2]
    assert (again[0], json.loads(again[2])["status"]) == (200, "completed")
    assert ended == ["completed"] * 3  # the retry made no fourth
