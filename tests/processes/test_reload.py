"""A real server's models file changes under load without a wrong refusal."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest
from support.jobs import web_workers
from support.server import FRAMEGATE, ROOT, Server

pytestmark = pytest.mark.slow

SMALL = "defaults: {width: 64, height: 64, num_frames: 1, frames_per_second: 8, steps: 2, negative_prompt: ''}"
MODELS = f"""
models:
  text: {{backend: still, modality: t2v, {SMALL}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.2}}, {SMALL}}}
"""
NEXT = f"""
models:
  text: {{backend: still, modality: t2v, {SMALL}, limits: {{steps: 50}}}}
  fresh: {{backend: still, modality: t2v, warm_up: true, {SMALL}}}
"""
Serve = Callable[..., Server]


class Load:
    """Callers in a loop until the block ends; `seen` counts the answers."""

    def __init__(self, server: Server, callers: int = 3) -> None:
        self.seen: Counter[tuple[int, str]] = Counter()
        self._server = server
        self._done = Event()
        self._callers = [Thread(target=self._ask) for _ in range(callers)]

    def _ask(self) -> None:
        while not self._done.is_set():
            status, body = self._server.call("/v1/responses", {"model": "text", "input": "a"})
            self.seen[status, body.get("status") or str(body)] += 1

    def __enter__(self) -> Load:
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for caller in self._callers:
            caller.join(60)


def ask(server: Server, model: str, **video: object) -> tuple[int, Any]:
    body = {"model": model, "input": "a", "background": True, "provider_options": {"video": video}}
    return server.call("/v1/responses", body)


def served(server: Server) -> set[str]:
    return {entry["id"] for entry in server.call("/v1/models")[1]["data"]}


def everywhere(server: Server, models: set[str]) -> None:
    """Wait until every web process serves these models."""
    server.until(lambda: all(served(server) == models for _ in range(20)))


def test_a_hang_up_serves_the_changed_file_and_fails_nobody(serve: Serve, tmp_path: Path) -> None:
    server, file = serve(MODELS), tmp_path / "models.yaml"
    with Load(server) as load:
        slow = [ask(server, "slow", steps=10)[1] for _ in range(2)]
        file.write_text("models:\n  text: {backend: nobody, modality: t2v}\n  b: {backend: still, modality: t3v}\n")
        server.process.send_signal(signal.SIGHUP)
        server.until(lambda: "must be one of those found" in server.log.read_text())
        assert served(server) == {"text", "slow"}
        file.write_text(NEXT)
        server.process.send_signal(signal.SIGHUP)
        everywhere(server, {"text", "fresh"})
        assert ask(server, "slow")[1]["error"]["code"] == "model_not_found"
        fresh = ask(server, "fresh")[1]
        done = [server.finished(made)["status"] for made in (*slow, fresh)]

    assert done == ["completed"] * 3
    assert [answer for answer in load.seen if answer != (200, "completed")] == []
    said = server.log.read_text()
    assert f"{file}:2: models.text.backend: must be one of those found" in said
    assert f"{file}:3: models.b.modality: must be one of" in said
    assert "models: added fresh; removed slow; changed text (limits)" in said
    assert "fresh is warmed up" in said
    server.until(lambda: "unloaded slow from cpu" in server.log.read_text())


def test_the_command_reaches_a_server_and_what_restarts_serves_the_same(serve: Serve, tmp_path: Path) -> None:
    server, file = serve(MODELS, workers=2), tmp_path / "models.yaml"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "FRAMEGATE_MODELS": str(file), "FRAMEGATE_DATA": str(server.data)}
    server.until(lambda: server.log.read_text().count("takes requests") == 2)  # who starts later publishes a newer file
    file.write_text(NEXT)
    said = subprocess.run([*FRAMEGATE, "reload"], env=environ, capture_output=True, text=True, timeout=60, check=True)
    everywhere(server, {"text", "fresh"})
    file.write_text("models: [")
    for process in (*web_workers(server), server.engine()):
        process.kill()
    server.until(lambda: server.log.read_text().count("takes requests") == 4)
    everywhere(server, {"text", "fresh"})

    assert said.stdout.splitlines() == [
        f"{file} is revision 2",
        "models: added fresh; removed slow; changed text (limits)",
    ]
    assert server.finished(ask(server, "fresh")[1])["status"] == "completed"
    assert f"{file} cannot be served as it is now, and what was published before goes on" in server.log.read_text()


def test_a_hang_up_of_gunicorn_restarts_its_workers_which_take_a_newer_file(serve: Serve, tmp_path: Path) -> None:
    server = serve(MODELS)
    (tmp_path / "models.yaml").write_text(NEXT)
    before = {child.pid for child in web_workers(server)}
    server.master().send_signal(signal.SIGHUP)
    everywhere(server, {"text", "fresh"})
    server.until(lambda: not before & {child.pid for child in web_workers(server)})

    assert psutil.pid_exists(server.process.pid)
    assert server.finished(ask(server, "fresh")[1])["status"] == "completed"
