"""Servers on a temporary folder, and a client with a persistent connection."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.tools.machine import ROOT

PLUGINS = Path(__file__).parents[1] / "plugins"
START_SECONDS = 180
STOP_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """A running server; `boot_seconds` is the time to its first answer."""

    process: subprocess.Popen[bytes]
    port: int
    data: Path
    boot_seconds: float

    def connect(self) -> Client:
        return Client(self.port)


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, path: str) -> tuple[int, bytes]:
        return self.send("GET", path)

    def post(self, body: bytes) -> tuple[int, bytes]:
        return self.send("POST", "/v1/responses", body)

    def send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {"content-type": "application/json"} if body else {}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def make(self, model: str, what: Any = "a red ball", **more: Any) -> dict[str, Any]:
        """Return the finished response for a prompt; exit on any other answer."""
        status, body = self.post(request_body(model, what, **more))
        answer: dict[str, Any] = json.loads(body)
        if status != 200:
            sys.exit(f"{model} answered {status}: {answer}")
        return answer


def request_body(model: str, what: Any = "a red ball", **more: Any) -> bytes:
    return json.dumps({"model": model, "input": what, **more}).encode()


def message(text: str, image_url: str | None = None) -> list[dict[str, Any]]:
    """Return the input of a request with a text, and an image if any."""
    image = [] if image_url is None else [{"type": "input_image", "image_url": image_url}]
    return [{"role": "user", "content": [*image, {"type": "input_text", "text": text}]}]


def data_url(pixels: Any) -> str:
    """Return an image `(height, width, 3)` in BGR as the URL of a PNG."""
    import cv2

    return f"data:image/png;base64,{base64.b64encode(cv2.imencode('.png', pixels)[1].tobytes()).decode()}"


def query(data: Path, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{data / 'jobs.sqlite'}?mode=ro", uri=True) as db:
        return db.execute(statement, parameters).fetchall()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="framegate-bench-", ignore_cleanup_errors=True) as data:
        yield Path(data)


@contextmanager
def serve(models: str | None = None, device: str = "cpu", **settings: object) -> Iterator[Server]:
    """Run `framegate serve` on `device`; yield the server when its engine is ready.

    `models` is the text of a models file, None for the package's own; `settings` are named as in `router.settings`.
    """
    port = free_port()
    command = ("-c", "from router.cli import main; main()", "serve", "--device", device, "--port", str(port))
    with scratch_folder() as data:
        variables = environment(data, models, **settings)
        with _running(command, variables, port, data, "/readyz") as running:
            yield running


@contextmanager
def serve_web(data: Path, models: str | None = None, **settings: object) -> Iterator[Server]:
    """Run the web half alone on `data`; yield the server when it answers."""
    port = free_port()
    bind = ("-b", f"127.0.0.1:{port}", "--graceful-timeout", "5")
    command = ("-m", "gunicorn", "-c", "router/deploy/gunicorn.conf.py", *bind, "wsgi:app")
    with _running(command, environment(data, models, no_auth=1, **settings), port, data, "/healthz") as running:
        yield running


def environment(data: Path, models: str | None = None, **settings: object) -> dict[str, str]:
    """Return the environment of a server, without settings of the caller's."""
    # PYTHONDONTWRITEBYTECODE would make every start compile the modules
    left_out = ("FRAMEGATE_", "PYTHONDONTWRITEBYTECODE")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    file = data / "models.yaml" if models is not None else ROOT / "models.yaml"
    if models is not None:
        file.write_text(models)
    values = {"data": data, "models": file, **settings}
    named = {f"FRAMEGATE_{name.upper()}": str(value) for name, value in values.items()}
    return ours | {"PYTHONPATH": python_path()} | named


def python_path() -> str:
    """Return the PYTHONPATH of a child process: this checkout first."""
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _running(
    arguments: tuple[str, ...], variables: dict[str, str], port: int, data: Path, path: str
) -> Iterator[Server]:
    log = data / "server.log"
    started = time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=variables, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _until_answered(process, port, path, log)
        yield Server(process, port, data, time.perf_counter() - started)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _until_answered(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with Client(port) as client:
                if client.get(path)[0] == 200:
                    return
        except OSError:  # not listening yet
            pass
        time.sleep(0.005)
    sys.exit(f"the server did not answer {path}; its log ends with:\n{log.read_text(errors='replace')[-3000:]}")
