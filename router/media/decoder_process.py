"""A child process that decodes pictures, bounded in seconds and in words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Timer
from typing import Any

from router.media.prepared_image import PreparedImage

START_SECONDS = 60.0
WALL_SECONDS = 90.0  # a child that takes longer is stopped or starved; the kernel counts its seconds of a core
WAIT_SECONDS = 5.0
MAX_COMPLAINTS = 300  # characters of what libraries print
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")  # of our environment
COMMAND = (sys.executable, "-P", "-m", "router.media.decoder_child")


class DecoderEnded(Exception):
    """The process ended over a picture."""


class DecoderMissing(Exception):
    """No process can be started."""


@dataclass(frozen=True)
class PictureFile:
    """A picture for a video of `size`; beyond `limit` pixels it is fitted."""

    data: bytes
    size: tuple[int, int]
    limit: int


@dataclass(frozen=True)
class DecodeResult:
    """The prepared picture or the message of a refusal, with complaints of libraries."""

    outcome: PreparedImage | str
    complaints: str = ""


class DecoderProcess:
    """A running child, and a memory file that takes its standard error."""

    def __init__(self, wall_seconds: float) -> None:
        self._wall_seconds = wall_seconds
        with ExitStack() as failing, ExitStack() as starting:
            self._errors = os.memfd_create("decoder", os.MFD_CLOEXEC)
            failing.callback(os.close, self._errors)
            appending = os.open(f"/proc/self/fd/{self._errors}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            starting.callback(os.close, appending)
            self._process = subprocess.Popen(
                [*COMMAND, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=appending,
                env=_environment(),
                cwd="/",
            )
            failing.pop_all()
            failing.callback(self.end)
            with self._killed_after(START_SECONDS):
                answer = self._line()
            if not answer.get("ready"):
                raise DecoderMissing(self._end_status())
            failing.pop_all()

    @classmethod
    def start(cls, wall_seconds: float) -> DecoderProcess:
        """Start a child; raise `DecoderMissing` without a file, process, thread or memory for it."""
        try:
            return cls(wall_seconds)
        except (OSError, RuntimeError, MemoryError, ValueError) as error:
            raise DecoderMissing(str(error) or type(error).__name__) from None

    def is_running(self) -> bool:
        return self._process.poll() is None

    def decode(self, file: PictureFile) -> DecodeResult:
        """Return what becomes of a picture; raise `DecoderEnded`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        width, height = file.size
        head = {"size": len(file.data), "width": width, "height": height, "limit": file.limit}
        with self._killed_after(self._wall_seconds):
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(head).encode() + b"\n")
                self._process.stdin.write(file.data)
                self._process.stdin.flush()
            answer = self._line()
            body = self._process.stdout.read(answer.get("size", 0))
        if "size" not in answer or len(body) < answer["size"]:
            raise DecoderEnded(self._end_status())
        outcome = str(answer["invalid"]) if "invalid" in answer else PreparedImage(body, tuple(answer["notes"]))
        return DecodeResult(outcome, self._complaints())

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()  # which closes the pipes, whatever was not written or read yet
        os.close(self._errors)

    def _line(self) -> dict[str, Any]:
        """Return the next line, empty after the end of the process."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        return found

    @contextmanager
    def _killed_after(self, seconds: float) -> Iterator[None]:
        watchdog = Timer(seconds, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()

    def _end_status(self) -> str:
        try:
            status = self._process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return f"it ended {how}" + (f" after {complaints}" if (complaints := self._complaints()) else "")

    def _complaints(self) -> str:
        printed = os.pread(self._errors, MAX_COMPLAINTS + 1, 0)
        if not printed:
            return ""
        os.ftruncate(self._errors, 0)
        more = " and more" if len(printed) > MAX_COMPLAINTS else ""
        return ascii(printed[:MAX_COMPLAINTS].decode("utf-8", "replace")) + more


def _environment() -> dict[str, str]:
    """Return this process's environment without secrets, and with our way to import."""
    environ = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PYTHON")}
    environ |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    environ["MALLOC_MMAP_THRESHOLD_"] = str(2**22)  # memory of large pictures goes back
    return environ
