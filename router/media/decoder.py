"""A thread that starts a decoder process, hands it pictures, and replaces it."""

from __future__ import annotations

import logging
import queue
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock, Thread

from router.media.decoder_process import WALL_SECONDS, DecodeResult, DecoderMissing, DecoderProcess, PictureFile
from router.media.stored_image import PreparedImage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Request:
    file: PictureFile
    result: Future[DecodeResult] = field(default_factory=Future)


class Decoder:
    """A decoder process and its thread."""

    # The thread lives as long as the process: the kernel ends a child when the thread that started it ends.

    def __init__(self, idle_seconds: float, wall_seconds: float = WALL_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._wall_seconds = wall_seconds
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._lock = Lock()
        self._runs = False

    def start(self) -> None:
        """Start the thread, and so the process, unless it runs; raise `DecoderMissing` without threads."""
        with self._lock:
            if not self._runs:
                try:
                    Thread(target=self._run, name="decoder", daemon=True).start()
                except RuntimeError as error:
                    raise DecoderMissing(str(error)) from None
                self._runs = True

    def decode(self, file: PictureFile) -> PreparedImage | str:
        """Return the prepared picture or the message of a refusal; raise `DecoderEnded` or `DecoderMissing`."""
        request = _Request(file)
        self._requests.put(request)
        self.start()
        result = request.result.result()
        if result.complaints:
            log.info("a library says of an image: %s", result.complaints)
        return result.outcome

    def close(self) -> None:
        """End the process; the next picture starts another."""
        self._requests.put(None)

    def _run(self) -> None:
        process: DecoderProcess | None = None
        try:
            with suppress(DecoderMissing):  # the first request tries again, and raises
                process = DecoderProcess.start(self._wall_seconds)
            while (request := self._next()) is not None:
                try:
                    if process is None or not process.is_running():
                        ended, process = process, None  # which cannot be ended twice
                        if ended is not None:
                            ended.end()
                        process = DecoderProcess.start(self._wall_seconds)
                    request.result.set_result(process.decode(request.file))
                except BaseException as error:
                    if process is not None:
                        process.end()
                    process = None
                    request.result.set_exception(error)
        finally:
            if process is not None:
                process.end()

    def _next(self) -> _Request | None:
        """Return the next request, None when this thread is to end."""
        try:
            request = self._requests.get(timeout=self._idle_seconds)
        except queue.Empty:
            request = None
        if request is None:
            with self._lock:
                while request is None and not self._requests.empty():
                    request = self._requests.get()
                self._runs = request is not None
        return request
