"""Signs of the topmost process: systemd's notifications, and the line for people."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from support.edge import half
from support.jobs import ask, completed
from support.patience import PATIENCE, until
from support.server import Server, children, free_port
from support.storm import insist

pytestmark = pytest.mark.slow

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 2, negative_prompt: ''}"
MODELS = f"""
models:
  good: {{backend: still, modality: t2v, {SMALL}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.2}}, {SMALL}}}
"""
BREAKS = """
from router import hookimpl

@hookimpl
def configure_app(app):
    raise RuntimeError("no door")
"""


class Systemd:
    """The messages on a notification socket."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.name)
        self._socket.settimeout(PATIENCE)

    def next(self) -> str:
        return self._socket.recv(1000).decode()

    def until(self, word: str) -> list[str]:
        """Wait for a message and return the messages before it."""
        before = []
        while word not in (message := self.next()).splitlines():
            before.append(message)
        return before

    def silent(self, seconds: float) -> bool:
        """Drain the socket and say whether it then stays silent."""
        self._socket.settimeout(0.1)
        with suppress(TimeoutError):
            while self.next():
                pass
        self._socket.settimeout(seconds)
        try:
            return not self.next()
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(PATIENCE)


@pytest.fixture
def systemd(tmp_path: Path) -> Systemd:
    return Systemd(tmp_path / "notify")


@contextmanager
def run(folder: Path, *command: str, **environ: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a command as systemd does; yield its process and its log."""
    (folder / "models.yaml").write_text(MODELS)
    log = folder / f"{command[0]}.log"
    known: dict[str, object] = {"models": folder / "models.yaml", "data": folder / "data", "no_auth": 1}
    before = {name: os.environ.get(name) for name in environ}
    os.environ |= environ
    try:
        with half(log, *command, **known) as process:
            yield process, log
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def engine_works(folder: Path, port: int) -> bool:
    return (folder / "data" / "devices" / "cpu.lock").exists()


HALVES: dict[str, tuple[tuple[str, ...], Callable[[Path, int], bool]]] = {
    "web": (("web",), lambda folder, port: answers(port, "/healthz")),
    "engine": (("engine", "--device", "cpu"), engine_works),
    "serve": (("serve", "--device", "cpu"), lambda folder, port: answers(port, "/readyz")),
}


@pytest.mark.parametrize("name", list(HALVES))
def test_systemd_is_told_of_the_start_the_life_and_the_stop(tmp_path: Path, systemd: Systemd, name: str) -> None:
    command, works = HALVES[name]
    port = free_port()
    where = () if name == "engine" else ("--port", str(port))
    with run(tmp_path, *command, *where, NOTIFY_SOCKET=systemd.name, FRAMEGATE_LOG_FORMAT="json") as (process, log):
        before = systemd.until("READY=1")
        assert works(tmp_path, port)
        assert set(before) <= {"EXTEND_TIMEOUT_USEC=60000000"}
        assert systemd.next() == "WATCHDOG=1"
        psutil.Process(process.pid).suspend()
        assert systemd.silent(2)  # it is the process itself that tells, and no child of it
        psutil.Process(process.pid).resume()
        systemd.until("WATCHDOG=1")
        process.terminate()
        systemd.until("STOPPING=1")
        assert process.wait(PATIENCE) == 0
    assert log.read_text().count('"Server ready on ') == (1 if name == "serve" else 0)


def test_systemd_is_told_nothing_good_of_a_start_that_fails(tmp_path: Path, systemd: Systemd) -> None:
    (tmp_path / "breaks.py").write_text(BREAKS)
    command = ("web", "--port", str(free_port()))
    plugins = str(tmp_path / "breaks.py")
    with run(tmp_path, *command, NOTIFY_SOCKET=systemd.name, FRAMEGATE_PLUGINS=plugins) as (process, log):
        assert process.wait(PATIENCE) > 0
    output = log.read_text()

    assert "no door" in output
    assert "Server" not in output
    systemd._socket.settimeout(0.1)
    messages = set(systemd.until("STOPPING=1"))
    assert messages <= {"EXTEND_TIMEOUT_USEC=60000000"}


def lines(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.startswith("Server ")]


def test_ready_is_said_once_and_when_it_is_true(tmp_path: Path) -> None:
    port = free_port()
    where = f"http://127.0.0.1:{port}"
    with run(tmp_path, "web", "--port", str(port)) as (web, log):
        until(lambda: answers(port, "/healthz"))
        until(lambda: lines(log) == [f"Server on {where} is open; no engine runs yet"])
        assert not answers(port, "/readyz")
        with run(tmp_path, "engine", "--device", "cpu"):
            until(lambda: lines(log)[1:] == [f"Server ready on {where}"])
            assert answers(port, "/readyz")
            web.send_signal(signal.SIGHUP)
            until(lambda: log.read_text().count("takes requests") >= 4)
            time.sleep(1)  # twice as often as it looks
            assert len(lines(log)) == 2


def test_new_web_workers_that_die_while_a_reload_waits_are_replaced(tmp_path: Path) -> None:
    """Keep old workers to their waiting callers while new ones take the rest."""
    port = free_port()
    with (
        run(tmp_path, "web", "--port", str(port), FRAMEGATE_STALL_PROCESS_SECONDS="2") as (web, log),
        run(tmp_path, "engine", "--device", "cpu"),
    ):
        server = Server(web, port, tmp_path / "data", log)
        server.ready()
        server.until(lambda: log.read_text().count("takes requests") >= 2)
        old = children("gunicorn", psutil.Process(web.pid))
        job = ask(server, "slow", steps=100)
        with socket.create_connection(("127.0.0.1", port)) as held:
            held.sendall(f"GET /v1/responses/{job['id']}?stream=true HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            assert held.recv(12) == b"HTTP/1.1 200"
            web.send_signal(signal.SIGHUP)
            server.until(lambda: log.read_text().count("takes requests") >= 4)
            killed, stopped = [each for each in children("gunicorn", psutil.Process(web.pid)) if each not in old]
            killed.kill()
            stopped.suspend()
            insist(server, "/healthz", seconds=PATIENCE)
            until(lambda: not stopped.is_running() or stopped.status() == psutil.STATUS_ZOMBIE)
            waits = [each for each in old if each.is_running()]
            assert len(waits) == 1  # the reload still waits for it
            server.call(f"/v1/responses/{job['id']}/cancel", method="POST")

        assert completed(server, ask(server, "good"))
