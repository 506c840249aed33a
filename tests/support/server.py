"""Real servers: `framegate serve` and its halves, as processes of their own."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

ROOT = Path(__file__).parents[2]
START_SECONDS = 180.0  # two seconds on an idle machine, minutes among several test runs
FRAMEGATE = (sys.executable, "-c", "from router.cli import main; main()")


@dataclass
class Server:
    """A running `framegate serve`, and how to talk to it."""

    process: subprocess.Popen[bytes]
    port: int
    data: Path
    log: Path
    store: str = field(default="", kw_only=True)  # the URL of a shared one

    def call(
        self,
        path: str,
        body: Any = None,
        method: str | None = None,
        timeout: float = 60,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        data = json.dumps(body).encode() if body is not None else None
        sent = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def fetch(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return answer.read()

    def until(self, what: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait for a true result of `what` and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if found := what():
                    return found
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"waited {seconds} s in vain; the server said:\n{self.log.read_text()[-5000:]}")

    def ready(self) -> None:
        self.until(lambda: self.call("/readyz")[0] == 200, START_SECONDS)

    def finished(self, response: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
        def done() -> dict[str, Any] | None:
            now = self.call(f"/v1/responses/{response['id']}")[1]
            return now if now["status"] not in ("queued", "in_progress") else None

        return self.until(done, seconds)

    def in_step(self, response: dict[str, Any], steps: int = 1) -> None:
        """Wait until a job has done `steps` steps."""
        self.until(lambda: (self.call(f"/v1/responses/{response['id']}")[1].get("steps_done") or 0) >= steps)

    def children(self, word: str) -> list[psutil.Process]:
        """Return the server's child processes with this word in their command."""
        return children(word, psutil.Process(self.process.pid))

    def engine(self) -> psutil.Process:
        """Wait for the server's one engine and return it."""
        (engine,) = self.until(lambda: self.children("router.engine"))
        return engine

    def master(self) -> psutil.Process:
        """Return gunicorn's master, the parent of the web workers."""
        (master,) = self.until(lambda: self.children("gunicorn"))
        return master

    def stop(self) -> float:
        """Stop the server and return the seconds until it ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - started


def children(word: str, parent: psutil.Process) -> list[psutil.Process]:
    """Return a process's children with this word in their command."""

    def command(child: psutil.Process) -> str:
        try:
            return " ".join(child.cmdline())
        except psutil.Error:
            return ""

    return [child for child in parent.children() if word in command(child)]


def free_port() -> int:
    """Return a port below those that the kernel gives to outgoing connections."""
    # such a connection, of another test process too, would take it before the server does
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def serve_in(folder: Path, models: str, *arguments: str, port: int | None = None, **settings: object) -> Server:
    """Start a server in `folder`, with settings as keywords; the caller stops it."""
    file, data, log = folder / "models.yaml", folder / "data", folder / f"{time.monotonic_ns()}.log"
    file.write_text(models)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "FRAMEGATE_DATA": str(data), "FRAMEGATE_MODELS": str(file)}
    environ.pop("OMP_NUM_THREADS", None)  # as many threads as its users have
    environ |= {f"FRAMEGATE_{name.upper()}": str(value) for name, value in settings.items()}
    port = port or free_port()
    command = [*FRAMEGATE, "serve", "--port", str(port), "--device", "cpu", *arguments]
    with open(log, "wb") as output:
        process = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=output, stderr=output)
    server = Server(process, port, data, log, store=str(settings.get("store", "")))
    server.ready()
    return server


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers on one data folder: `serve(models, *arguments, **settings)`."""
    started: list[Server] = []

    def start(models: str, *arguments: str, **settings: object) -> Server:
        started.append(serve_in(tmp_path, models, *arguments, **settings))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


def frames(server: Server, answer: dict[str, Any], folder: Path) -> np.ndarray:
    """Return the frames of a completed video."""
    path = folder / f"{answer['id']}.mp4"
    path.write_bytes(server.fetch(answer["output"][0]["content"][0]["video_url"]))
    with av.open(str(path)) as video:
        assert video.streams.video[0].codec_context.name == "h264"
        assert video.streams.video[0].pix_fmt == "yuv420p"
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
