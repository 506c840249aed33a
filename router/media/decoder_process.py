"""One child process that decodes pictures, and the thread that starts it, talks to it and replaces it."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock, Thread, Timer
from typing import Any

from router.media.stored_image import Prepared

START_SECONDS = 60.0
WALL_SECONDS = 90.0  # a child that takes longer is stopped or starved; the kernel counts its seconds of a core
WAIT_SECONDS = 5.0
SHOWN = 300  # characters of what a library says
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")  # of our environment
COMMAND = (sys.executable, "-P", "-m", "router.media.decoder_child")
log = logging.getLogger(__name__)


class DecoderEnded(Exception):
    """The child ended over a picture."""


class DecoderMissing(Exception):
    """No child can be started."""


@dataclass(frozen=True)
class Answer:
    """The prepared picture, or the words of a refusal; and what libraries have said meanwhile."""

    made: Prepared | str
    said: str = ""


@dataclass(frozen=True)
class Question:
    """A file, the size of its video, and the pixels above which it is fitted to that; a future for what comes out."""

    data: bytes
    size: tuple[int, int]
    limit: int
    answer: Future[Answer] = field(default_factory=Future)


class Decoder:
    """A child and its thread, which live as long: the kernel ends a child when the thread that started it ends."""

    def __init__(self, idle_seconds: float, wall_seconds: float = WALL_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._wall_seconds = wall_seconds
        self._questions: queue.SimpleQueue[Question | None] = queue.SimpleQueue()
        self._lock = Lock()
        self._runs = False

    def start(self) -> None:
        """Start the thread, and so the child, where there is none; raise `DecoderMissing` where none is to be had."""
        with self._lock:
            if not self._runs:
                try:
                    Thread(target=self._run, name="decoder", daemon=True).start()
                except RuntimeError as error:
                    raise DecoderMissing(str(error)) from None
                self._runs = True

    def ask(self, question: Question) -> Prepared | str:
        """Return the prepared picture, or the words of a refusal; raise `DecoderEnded` or `DecoderMissing`."""
        self._questions.put(question)
        self.start()
        answer = question.answer.result()
        if answer.said:
            log.info("a library says of an image: %s", answer.said)
        return answer.made

    def close(self) -> None:
        """End the child; whoever asks again starts another."""
        self._questions.put(None)

    def _run(self) -> None:
        child: _Child | None = None
        try:
            with suppress(DecoderMissing):  # whoever asks is told
                child = _child(self._wall_seconds)
            while (question := self._next()) is not None:
                try:
                    if child is None or not child.is_running():
                        ended, child = child, None  # which cannot be ended twice
                        if ended is not None:
                            ended.end()
                        child = _child(self._wall_seconds)
                    question.answer.set_result(child.exchange(question))
                except BaseException as error:
                    if child is not None:
                        child.end()
                    child = None
                    question.answer.set_exception(error)
        finally:
            if child is not None:
                child.end()

    def _next(self) -> Question | None:
        """Return the next question, None where this thread is to end."""
        try:
            question = self._questions.get(timeout=self._idle_seconds)
        except queue.Empty:
            question = None
        if question is None:
            with self._lock:
                while question is None and not self._questions.empty():
                    question = self._questions.get()
                self._runs = question is not None
        return question


def _child(wall_seconds: float) -> _Child:
    """Start a child; raise `DecoderMissing` where there is no file, process, thread or memory for it."""
    try:
        return _Child(wall_seconds)
    except (OSError, RuntimeError, MemoryError, ValueError) as error:
        raise DecoderMissing(str(error) or type(error).__name__) from None


class _Child:
    """A running process, and the memory where it leaves what libraries say on standard error."""

    def __init__(self, wall_seconds: float) -> None:
        self._wall_seconds = wall_seconds
        environ = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PYTHON")}
        environ |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
        environ["MALLOC_MMAP_THRESHOLD_"] = str(2**22)  # memory of large pictures goes back
        with ExitStack() as failing, ExitStack() as starting:
            self._said = os.memfd_create("decoder", os.MFD_CLOEXEC)
            failing.callback(os.close, self._said)
            appending = os.open(f"/proc/self/fd/{self._said}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            starting.callback(os.close, appending)
            self._process = subprocess.Popen(
                [*COMMAND, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=appending,
                env=environ,
                cwd="/",
            )
            failing.pop_all()
            failing.callback(self.end)
            with self._at_most(START_SECONDS):
                answer = self._line()
            if not answer.get("ready"):
                raise DecoderMissing(self._how())
            failing.pop_all()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def exchange(self, question: Question) -> Answer:
        """Return what comes of a picture; raise `DecoderEnded`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        width, height = question.size
        asked = {"size": len(question.data), "width": width, "height": height, "limit": question.limit}
        with self._at_most(self._wall_seconds):
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(asked).encode() + b"\n")
                self._process.stdin.write(question.data)
                self._process.stdin.flush()
            answer = self._line()
            body = self._process.stdout.read(answer.get("size", 0))
        if "size" not in answer or len(body) < answer["size"]:
            raise DecoderEnded(self._how())
        made = str(answer["invalid"]) if "invalid" in answer else Prepared(body, tuple(answer["notes"]))
        return Answer(made, self._what_was_said())

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not written yet was meant for this process
                    pipe.close()
        os.close(self._said)

    def _line(self) -> dict[str, Any]:
        """Return the next line, empty where the process has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        return found

    @contextmanager
    def _at_most(self, seconds: float) -> Iterator[None]:
        watchdog = Timer(seconds, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()

    def _how(self) -> str:
        """Return how the process has ended, and what was said before."""
        try:
            status = self._process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return f"it ended {how}" + (f" after {said}" if (said := self._what_was_said()) else "")

    def _what_was_said(self) -> str:
        """Return what libraries have said since the last time, in one line, and forget it."""
        said = os.pread(self._said, SHOWN + 1, 0)
        if not said:
            return ""
        os.ftruncate(self._said, 0)
        return ascii(said[:SHOWN].decode("utf-8", "replace")) + (" and more" if len(said) > SHOWN else "")
