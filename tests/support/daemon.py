"""Server programs in folders of their own, as another user than root."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from support.patience import until
from support.server import free_port

MEMORY = Path("/dev/shm")
ENOUGH = 4 * 2**30  # bytes
# its input ends with the tests, however they end: then it stops the server, paused or not, and removes the folder
GUARD = """
read -r _
kill -QUIT "$1"
kill -CONT "$1" $(cat "/proc/$1/task/$1/children")
while [ -e "/proc/$1/exe" ]; do sleep 0.1; done
rm -rf "$2"
"""


class Daemon:
    """A server on a port of 127.0.0.1; it ends with the tests."""

    def __init__(self, name: str, parent: Path | None = None) -> None:
        # pytest's folders are closed to other users
        self.folder = Path(tempfile.mkdtemp(prefix=f"framegate-{name}-", dir=parent or _parent()))
        self.log = self.folder / "log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        _give(self.folder)

    def command(self) -> list[str]:
        """Return the command of the server in the foreground."""
        raise NotImplementedError

    def accepts(self) -> bool:
        """Say whether the server takes connections."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server unless it runs, resume it, and wait for its first connection."""
        if self.is_running:
            self.resume()
        else:
            with open(self.log, "ab") as output:
                self._process = subprocess.Popen(
                    self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, **self._options()
                )
            self._watch_over(self._process)
        until(self._is_ready)

    def end(self, number: signal.Signals) -> None:
        """Stop the server by a signal, paused or not."""
        if self._process is None or self._guard is None:
            return
        if self.is_running:
            self._process.send_signal(number)
            self.resume()
        self._process.wait(60)
        self._guard.kill()
        self._guard.communicate()
        self._process = self._guard = None

    def pause(self) -> None:
        """Stop the server and its children without their notice, as if frozen."""
        server = psutil.Process(self._pid())
        _pause(server)  # it makes no more children then
        for child in server.children():
            with suppress(psutil.NoSuchProcess):
                _pause(child)

    def resume(self) -> None:
        server = psutil.Process(self._pid())
        for process in (*server.children(), server):
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.end(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def run(self, *command: str) -> None:
        """Run another command as the server's user."""
        ended = subprocess.run(command, capture_output=True, text=True, **self._options())
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def write(self, name: str, text: str) -> Path:
        """Write a file for the server's user."""
        path = self.folder / name
        path.write_text(text)
        _give(path)
        return path

    def _options(self) -> dict[str, Any]:
        environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}  # PGPORT and others would be read
        options = {"cwd": self.folder, "env": environ, "start_new_session": True}
        if user := _user():
            options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
        return options

    def _watch_over(self, process: subprocess.Popen[bytes]) -> None:
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", str(process.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _is_ready(self) -> bool:
        assert self.is_running, f"{self.command()[0]} ended:\n{self.log.read_text()[-5000:]}"
        return self.accepts()

    def _pid(self) -> int:
        assert self._process is not None, f"{self.command()[0]} does not run"
        return self._process.pid


def _parent() -> Path | None:
    """Return the folder in memory if it has space, else None."""
    # ext4 is slow to make files after others were deleted: a database of 300 files takes 150 ms, in memory 10
    has_space = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH
    return MEMORY if has_space else None


def _pause(process: psutil.Process) -> None:
    process.suspend()
    until(lambda: process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE))


@cache
def _user() -> pwd.struct_passwd | None:
    """Return the servers' user, none for tests that do not run as root."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def _give(path: Path) -> None:
    """Give a path to the servers' user."""
    if user := _user():
        os.chown(path, user.pw_uid, user.pw_gid)
