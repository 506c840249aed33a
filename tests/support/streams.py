"""Streams over raw connections, and a second web half on one store."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai

from support.server import ROOT, Server, free_port

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 20, negative_prompt: ''}"
MODELS = f"""
models:
  text: {{backend: still, modality: t2v, {SMALL}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.1}}, {SMALL}}}
"""


class Connection:
    """One HTTP exchange, byte by byte."""

    def __init__(self, port: int, method: str, path: str, body: Any = None, receive_buffer: int = 0) -> None:
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(30)
        self._socket.connect(("127.0.0.1", port))
        data = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
        self._socket.sendall(f"{head}\r\n\r\n".encode() + data)
        self.data = b""

    def read_until(self, what: bytes) -> None:
        while what not in self.data:
            piece = self._socket.recv(65536)
            assert piece, f"{what!r} should come, but the connection ended after {self.data[-2000:]!r}"
            self.data += piece

    def read_all(self) -> bytes:
        """Return everything up to the end of the answer."""
        self.read_until(b"\r\n0\r\n\r\n")
        return self.data

    def close(self) -> None:
        self._socket.close()


def body_of(data: bytes) -> bytes:
    """Return the body of a chunked answer."""
    rest, body = data.split(b"\r\n\r\n", 1)[1], b""
    while rest:
        size, rest = rest.split(b"\r\n", 1)
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        if size == b"0":
            break
    return body


def body_of_request(model: str = "slow", steps: int = 20, **more: Any) -> dict[str, Any]:
    return {"model": model, "input": "a", "stream": True, "provider_options": {"video": {"steps": steps}}, **more}


def stream(port: int, body: dict[str, Any], **more: Any) -> Connection:
    return Connection(port, "POST", "/v1/responses", body, **more)


def follow(port: int, response: str, after: int = -1) -> Connection:
    more = f"&starting_after={after}" if after >= 0 else ""
    return Connection(port, "GET", f"/v1/responses/{response}?stream=true{more}")


def first_id(connection: Connection) -> str:
    connection.read_until(b'"status":')
    return "resp_" + connection.data.split(b'"id":"resp_')[1][:32].decode()


def status(server: Server, response: str) -> str:
    return server.call(f"/v1/responses/{response}")[1]["status"]


@contextmanager
def second_web(server: Server, **settings: object) -> Iterator[int]:
    """Run another web half on a server's data; yield its port."""
    port = free_port()
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "FRAMEGATE_DATA": str(server.data), "FRAMEGATE_WORKERS": "1"}
    environ |= {"FRAMEGATE_MODELS": str(server.data.parent / "models.yaml"), "FRAMEGATE_NO_AUTH": "1"}
    environ |= {f"FRAMEGATE_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "gunicorn", "-c", "router/deploy/gunicorn.conf.py", "-b", f"127.0.0.1:{port}"]
    web = subprocess.Popen([*command, "--graceful-timeout", "5", "wsgi:app"], env=environ, cwd=ROOT)
    other = Server(web, port, server.data, server.log)
    try:
        other.until(lambda: other.call("/healthz")[0] == 200)
        yield port
    finally:
        web.terminate()
        web.wait(20)


def sdk_of(server: Server, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0, **more)
