"""A pool of up to two decoder processes, each with its thread."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock, Thread

from router.errors import TooManyWaiters, Unavailable
from router.media.decoder_process import (
    WALL_SECONDS,
    DecoderEnded,
    DecodeResult,
    DecoderMissing,
    DecoderProcess,
    PictureFile,
)
from router.media.header import MAX_PIXELS, about, invalid
from router.media.prepared_image import PreparedImage
from router.runtime.fair_slots import Slots

AT_A_TIME = 2
MAX_QUEUED = 64  # requests of one process that wait for a decoder
WAIT_SECONDS = 10.0
IDLE_SECONDS = 900.0  # after which an idle child gives its memory back
log = logging.getLogger(__name__)


class Decoders:
    """A process's decoders: two pictures at a time, one of each owner."""

    def __init__(
        self,
        *,
        wait_seconds: float = WAIT_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        wall_seconds: float = WALL_SECONDS,
    ) -> None:
        self._slots = Slots(AT_A_TIME, MAX_QUEUED, wait_seconds)
        self._idle_seconds = idle_seconds
        self._wall_seconds = wall_seconds
        self._lock = Lock()
        self._idle: list[Decoder] = []
        self._count = 0

    def start(self) -> None:
        """Start a child if there is none, without waiting for it."""
        with self._lock:
            if not self._count:
                self._idle.append(self._new())
                with suppress(DecoderMissing):  # `prepare` tries again, and raises
                    self._idle[-1].start()

    def prepare(
        self, data: bytes, size: tuple[int, int], limit: int = MAX_PIXELS, *, owner: str = "", param: str = ""
    ) -> PreparedImage:
        """Return the picture for a video of `size`, as `pixels.prepare` does.

        Raise `InvalidRequest` about `param` for a broken picture, and for one that ends its decoder or takes too much;
        `TooManyWaiters` where no decoder is free in time, `Unavailable` where none can be started.
        """
        with about(param), self._decoder(owner) as decoder:
            try:
                outcome = decoder.decode(PictureFile(data, size, limit))
            except DecoderMissing as error:
                log.error("images cannot be decoded: %s", error)
                message = "images cannot be decoded here for the moment; send this request again later"
                raise Unavailable(message, headers=(("retry-after", "5"),)) from None
            except DecoderEnded as error:
                log.warning("an image of %d bytes has ended its decoder: %s", len(data), error)
                raise invalid("an image must be whole and readable, got one that cannot be decoded") from None
            if isinstance(outcome, str):
                raise invalid(outcome)
            return outcome

    def close(self) -> None:
        """End the children that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._count -= len(idle)
        for decoder in idle:
            decoder.close()

    @contextmanager
    def _decoder(self, owner: str) -> Iterator[Decoder]:
        with self._slots.take(owner) as taken:
            if not taken:
                raise TooManyWaiters(
                    f"{AT_A_TIME} images are being decoded by this process, its limit, one of them of an owner at "
                    "most, and others wait; send this request again later"
                )
            with self._lock:
                decoder = self._idle.pop() if self._idle else self._new()
            try:
                yield decoder
            finally:
                with self._lock:
                    self._idle.append(decoder)

    def _new(self) -> Decoder:
        self._count += 1
        return Decoder(self._idle_seconds, self._wall_seconds)


@dataclass(frozen=True)
class _Request:
    file: PictureFile
    result: Future[DecodeResult] = field(default_factory=Future)


class Decoder:
    """A decoder process and its thread."""

    # The thread lives as long as the process: the kernel ends a child when the thread that started it ends.

    def __init__(self, idle_seconds: float, wall_seconds: float) -> None:
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
