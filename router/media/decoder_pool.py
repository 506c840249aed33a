"""A pool of up to two decoder processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from router.errors import TooManyWaiters, Unavailable
from router.media.decoder import Decoder
from router.media.decoder_process import WALL_SECONDS, DecoderEnded, DecoderMissing, PictureFile
from router.media.header import MAX_PIXELS, invalid
from router.media.stored_image import PreparedImage
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
        """Return the picture for a video of `size`, as `stored_image.prepare` does.

        Raise `InvalidRequest` about `param` for a broken picture, and for one that ends its decoder or takes too much;
        `TooManyWaiters` where no decoder is free in time, `Unavailable` where none can be started.
        """
        with self._decoder(owner) as decoder:
            try:
                outcome = decoder.decode(PictureFile(data, size, limit))
            except DecoderMissing as error:
                log.error("images cannot be decoded: %s", error)
                message = "images cannot be decoded here for the moment; send this request again later"
                raise Unavailable(message, headers=(("retry-after", "5"),)) from None
            except DecoderEnded as error:
                log.warning("an image of %d bytes has ended its decoder: %s", len(data), error)
                message = "an image must be whole and readable, got one that cannot be decoded"
                raise invalid(message, param) from None
        if isinstance(outcome, str):
            raise invalid(outcome, param)
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
                raise _busy()
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


def _busy() -> TooManyWaiters:
    message = (
        f"{AT_A_TIME} images are being decoded by this process, its limit, one of them of an owner at most, and others "
        "wait; send this request again later"
    )
    return TooManyWaiters(message, headers=(("retry-after", "5"),))
