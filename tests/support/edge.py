"""Framegate in production: nginx, the web half and an engine, each a process."""

import grp
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from router.cli.deploy import LOG
from support.patience import until
from support.server import FRAMEGATE, ROOT, Server, free_port

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 20, negative_prompt: ''}"
MODELS = f"""
models:
  text: {{backend: still, modality: t2v, {SMALL}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.1}}, {SMALL}}}
  long: {{backend: still, modality: t2v, options: {{step_seconds: 1}}, {SMALL}}}
"""
MAIN = """
daemon off;
pid nginx.pid;
worker_processes 1;
error_log error.log;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}}
"""
ACTIVATE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); "
    "os.environ |= {'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())}; os.execv(sys.argv[2], sys.argv[2:])"
)


def need(command: str, package: str = "", path: str = "") -> str:
    """Return the path of a package's command; without it skip, or fail in CI."""
    found = shutil.which(command, path=path or f"{os.environ['PATH']}:/usr/sbin:/sbin")
    what = f"the command {command} of the package {package}" if package else f"the command {command}"
    if found is None and os.environ.get("CI"):
        pytest.fail(f"CI needs {what}: script/packages installs it")
    if found is None:
        pytest.skip(f"needs {what} on this machine: script/packages installs it")
    return found


def framegate(*arguments: str, **settings: object) -> str:
    """Return the output of a `framegate` command."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **variables(settings)}
    ended = subprocess.run([*FRAMEGATE, *arguments], env=environ, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def variables(settings: Mapping[str, object]) -> dict[str, str]:
    return {f"FRAMEGATE_{name.upper()}": str(value) for name, value in settings.items()}


def edited(site: str, changes: Mapping[str, str]) -> str:
    """Return a site with lines replaced; each must exist."""
    for old, new in changes.items():
        assert old in site
        site = site.replace(old, new)
    return site


@contextmanager
def nginx(folder: Path, site: str, user: str = "root") -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx in `folder` as the tests' user, or as the superuser's `user`."""
    command = [need("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
    (folder / "site.conf").write_text(
        edited(site, {f"access_log {LOG} framegate;": "access_log access.log framegate;"})
    )
    (folder / "nginx.conf").write_text(MAIN.format(user=_user(user)))
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr
    process = subprocess.Popen(command)
    try:
        # The test above has made the file; nginx writes into it once it listens.
        until(lambda: (folder / "nginx.pid").read_text() or process.poll())
        assert process.poll() is None, (folder / "error.log").read_text()
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _user(name: str) -> str:
    """Return nginx's `user` line, empty without the superuser's rights."""
    if os.geteuid() != 0:
        return ""
    return f"user {name} {grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name};"


@contextmanager
def half(
    log: Path, *command: str, listener: socket.socket | None = None, **settings: object
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `framegate web` or `framegate engine`; pass a `listener` as systemd does."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **variables(settings)}
    passed = [listener.fileno()] if listener else []
    activate = [sys.executable, "-c", ACTIVATE, str(passed[0])] if passed else []
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [*activate, *FRAMEGATE, *command],
            env=environ,
            cwd=log.parent,
            stdout=output,
            stderr=output,
            pass_fds=passed,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@dataclass
class Site(Server):
    """Framegate behind nginx: `process` is nginx, `web` the web half's master."""

    web: subprocess.Popen[bytes]
    folder: Path

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        """Return an answer and its bytes."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer, data

    def made(self, **more: Any) -> str:
        """Make a video and return its path."""
        status, answer = self.call("/v1/responses", {"model": "text", "input": "a", **more})
        assert status == 200, answer
        return str(answer["output"][0]["content"][0]["video_url"])

    def raw(self, data: bytes) -> bytes:
        """Send bytes and return the answer's until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def behind_nginx(
    folder: Path,
    changes: Mapping[str, str] | None = None,
    *,
    tls: tuple[Path, Path] | None = None,
    user: str = "root",
    **settings: object,
) -> Iterator[Site]:
    """Run nginx and both halves in `folder`, with `changes` to the printed site."""
    need("nginx")
    port, data, listens, log = free_port(), folder / "data", folder / "web.sock", folder / "framegate.log"
    (folder / "models.yaml").write_text(MODELS)
    known = {"models": folder / "models.yaml", "data": data, "accel": "/framegate-files", "no_auth": 1, **settings}
    arguments = ["127.0.0.1", "--socket", str(listens), "--data", str(data)]
    if tls:
        arguments += ["--certificate", str(tls[0]), "--key", str(tls[1])]
    ports = {"listen 80;": f"listen 127.0.0.1:{free_port()};", "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;"}
    where = ports if tls else {"listen 80;": f"listen 127.0.0.1:{port};"}
    site = edited(framegate("deploy", "nginx", *arguments, **settings), {**where, **(changes or {})})
    with ExitStack() as running:
        web = running.enter_context(half(log, "web", "--socket", str(listens), **known))
        running.enter_context(half(log, "engine", "--device", "cpu", **known))
        if (
            user != "root" and os.geteuid() == 0
        ):  # it is open to its group, of which the documentation makes nginx a member
            until(listens.exists)
            os.chown(listens, -1, pwd.getpwnam(user).pw_gid)
        process = running.enter_context(nginx(folder, site, user))
        yield Site(process, port, data, log, web, folder)


def problem(data: bytes) -> tuple[str, str]:
    """Check the form of an error body and return its type and code."""
    body = json.loads(data)
    assert list(body) == ["error"]
    assert {key: type(value) for key, value in body["error"].items()} == dict.fromkeys(
        ("message", "type", "param", "code"), str
    )
    assert body["error"]["message"]
    return body["error"]["type"], body["error"]["code"]
