"""Warnings about long prompts, counted in a moment or not at all."""

import importlib.util
import logging
import queue
import stat
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread

from registry import ModelSpec
from router.runtime.threads import log_and_go_on
from router.tokens.counter_process import CounterProcess
from router.tokens.cut import CutPrompt
from router.values import Task

FILE = "tokenizer/tokenizer.json"  # in a model's folder
LARGEST = 64 * 2**20  # bytes; umT5's has 9 to 17 MB
NEEDED = ("tokenizers", "ftfy")  # without the second a count would not be the engine's
PATIENCE_SECONDS = 0.25  # for which a request waits for its count
REST_SECONDS = 10.0  # without counts after one that did not come in time
STALL_SECONDS = 120.0  # after which a silent process is killed
IDLE_SECONDS = 900.0  # after which an idle process gives its memory back
SPARE = 8  # tokens that a tokenizer may add to a text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _File:
    path: str
    modified: int
    size: int


@dataclass(frozen=True)
class _Question:
    """Texts to count; without texts the file is only read."""

    file: _File
    limit: int = 0
    texts: tuple[str, ...] = ()
    answer: Future[list[CutPrompt | None]] = field(default_factory=Future)


class TokenCounter:
    """The tokens of prompts, beyond those that their model reads.

    A tokenizer is read at its model's first request, by a process with a thread of its own. Of prompts that cannot be
    counted in time only the engine warns.
    """

    def __init__(self, locate: Callable[[ModelSpec], Path | None], stall_seconds: float = STALL_SECONDS) -> None:
        self._locate = locate
        self._installed = all(importlib.util.find_spec(module) for module in NEEDED)
        self._questions: queue.SimpleQueue[_Question] = queue.SimpleQueue()
        self._states: dict[_File, str] = {}
        self._lock = Lock()
        self._thread: Thread | None = None
        self._process = CounterProcess(stall_seconds)
        self._rests_until = 0.0

    def warnings(self, model: ModelSpec, task: Task) -> tuple[str, ...]:
        """Return a warning for each prompt of `task` with more tokens than `model` reads."""
        if model.prompt_tokens is None or not self._installed or (file := self._file(model)) is None:
            return ()
        prompts = {"prompt": task.prompt}
        if task.guidance_scale > 1:  # else the negative prompt is not read
            prompts["negative prompt"] = task.negative_prompt
        if not self._is_read(file) or not any(_may_exceed(text, model.prompt_tokens) for text in prompts.values()):
            return ()
        cuts = self._cuts(_Question(file, model.prompt_tokens, tuple(prompts.values())))
        return tuple(cut.warning(name) for name, cut in zip(prompts, cuts, strict=False) if cut)

    def _file(self, model: ModelSpec) -> _File | None:
        folder = self._locate(model)
        if folder is None:
            return None
        try:
            path = (folder / FILE).resolve()
            found = path.stat()
        except (OSError, RuntimeError):  # no such file, or links in a circle
            return None
        file = _File(str(path), found.st_mtime_ns, found.st_size)
        if not stat.S_ISREG(found.st_mode):
            return None
        if found.st_size > LARGEST:
            self._give_up(file, f"it has {found.st_size:,} bytes, at most {LARGEST:,} are read")
            return None
        return file

    def _is_read(self, file: _File) -> bool:
        """Say whether the process has read `file`; have it read at the first call."""
        with self._lock:
            state = self._states.setdefault(file, "wanted")
            if state == "wanted":
                self._states[file] = "coming"
                self._put(_Question(file))
            return state == "read"

    def _cuts(self, question: _Question) -> list[CutPrompt | None]:
        with self._lock:
            if "coming" in self._states.values() or time.monotonic() < self._rests_until:
                return []
            self._put(question)
        try:
            return question.answer.result(PATIENCE_SECONDS)
        except TimeoutError:
            question.answer.cancel()
            self._rests_until = time.monotonic() + REST_SECONDS
            log.info("no prompt is counted for %.0f s: one took more than %s s", REST_SECONDS, PATIENCE_SECONDS)
            return []

    def _put(self, question: _Question) -> None:
        """Hand a question to the thread, which the first question starts, after the fork."""
        self._questions.put(question)
        if self._thread is None:
            thread = Thread(target=self._run, name="tokens", daemon=True)
            with suppress(RuntimeError):  # no thread is to be had: the next question tries again
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            try:
                question = self._questions.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._retire()
                continue
            with log_and_go_on("the counter of tokens"):
                self._reply(question)

    def _reply(self, question: _Question) -> None:
        if not question.answer.set_running_or_notify_cancel():
            return
        answer = None
        try:
            answer = self._counted(question)
        finally:
            if answer is None:
                self._retire()  # so that the files are read again
            question.answer.set_result(answer or [])

    def _counted(self, question: _Question) -> list[CutPrompt | None]:
        if self._states.get(question.file) == "broken":
            return []
        if question.texts and not self._process.is_running():
            self._retire()  # what it had read is to be read again, for which no request waits
            return []
        try:
            answer = self._process.exchange(question.file.path, question.limit, question.texts)
            cuts = [CutPrompt(cut[0], question.limit, cut[1]) if cut else None for cut in answer["cut"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._process.end()
            self._give_up(question.file, str(error) or type(error).__name__)
            return []
        self._states[question.file] = "read"
        return cuts

    def _retire(self) -> None:
        """End the process; each file is read again at its model's next request."""
        with self._lock:
            self._states = {file: state for file, state in self._states.items() if state == "broken"}
        self._process.end()

    def _give_up(self, file: _File, reason: str) -> None:
        with self._lock:
            known, self._states[file] = self._states.get(file), "broken"
        if known != "broken":
            log.warning("%s cannot be read, so its prompts are not counted before they run: %s", file.path, reason)


def _may_exceed(text: str, limit: int) -> bool:
    # of ASCII a token has a character at least; what `&...;` stands for may be no ASCII
    return not text.isascii() or "&" in text or len(text) + SPARE > limit
