"""The units under a systemd of the test: readiness, and the watchdog.

It is a user's manager in a mount namespace, so the lines that need a whole machine, such as those that shut files off, are left out.
"""

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.edge import MODELS, framegate, need
from support.patience import until
from support.server import FRAMEGATE, ROOT, children

pytestmark = [pytest.mark.slow, pytest.mark.storm]

KEPT = (
    "Type",
    "NotifyAccess",
    "Environment",
    "Restart",
    "RestartSec",
    "RestartPreventExitStatus",
    "WatchdogSec",
    "WatchdogSignal",
    "KillMode",
    "TimeoutStopSec",
    "ListenStream",
    "Requires",
)
START = """
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/user && \
XDG_RUNTIME_DIR=/run/user SYSTEMD_UNIT_PATH={units}: exec {systemd} --user --unit=default.target
"""
SYSTEMD = "/usr/lib/systemd/systemd"
WATCHDOG_SECONDS = 5


def shortened(text: str) -> str:
    """Return the tested lines of a unit, for this checkout, with a shorter watchdog."""
    lines = ["[Unit]", "DefaultDependencies=no"]
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "ExecStart":
            python, *code = FRAMEGATE
            lines.append(f"ExecStart={python} {code[0]} '{code[1]}' {value.partition(' ')[2]}")
        elif key in KEPT or line in ("[Service]", "[Socket]"):
            lines.append(line.replace("WatchdogSec=60", f"WatchdogSec={WATCHDOG_SECONDS}"))
    assert ("[Socket]" in lines) or f"WatchdogSec={WATCHDOG_SECONDS}" in lines
    return "\n".join(lines) + "\n"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[psutil.Process]:
    if os.geteuid() != 0 or not Path(SYSTEMD).exists():
        pytest.skip("needs the superuser, for a mount namespace, and systemd")
    units = tmp_path / "units"
    units.mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "models.yaml").write_text(MODELS)
    framegate("deploy", "systemd", str(units), "--socket", str(tmp_path / "web.sock"), "--data", str(tmp_path / "data"))
    for unit in units.glob("framegate-*"):
        unit.write_text(shortened(unit.read_text()))
    (units / "framegate.target").unlink()
    wanted = "framegate-web.socket framegate-web.service framegate-engine@cpu.service"
    (units / "default.target").write_text(f"[Unit]\nDefaultDependencies=no\nWants={wanted}\n")
    environ = {"PYTHONPATH": str(ROOT), "FRAMEGATE_MODELS": str(tmp_path / "models.yaml"), "FRAMEGATE_NO_AUTH": "1"}
    command = [need("unshare"), "--mount", "sh", "-c", START.format(units=units, systemd=SYSTEMD)]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **environ}, cwd=tmp_path, stdout=log, stderr=log)
    systemd = psutil.Process(process.pid)
    yield systemd
    everything = systemd.children(recursive=True)
    process.kill()
    process.wait()
    for each in everything:
        with suppress(psutil.Error):
            each.kill()


def main_process(systemd: psutil.Process, word: str) -> psutil.Process:
    (found,) = until(lambda: children(word, systemd))
    return found


def ready(path: Path) -> bool:
    """Say whether the web half answers on a socket and an engine runs."""
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(10)
        connection.sock.connect(str(path))
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.parametrize(("unit", "word"), [("web", "gunicorn"), ("engine", "engine --device cpu")])
def test_systemd_starts_a_topmost_process_again_that_shows_no_life(
    manager: psutil.Process, tmp_path: Path, unit: str, word: str
) -> None:
    until(lambda: ready(tmp_path / "web.sock"))
    process = main_process(manager, word)
    with suppress(psutil.TimeoutExpired):
        process.wait(2 * WATCHDOG_SECONDS)  # in which one that systemd thinks silent would be killed
    assert process.is_running()
    below = process.children(recursive=True)
    process.suspend()
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in below))
    again = main_process(manager, word)
    until(lambda: ready(tmp_path / "web.sock"))

    assert again != process
    assert sys.executable in again.cmdline()[0]
