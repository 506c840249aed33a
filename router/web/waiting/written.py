"""Answers written while their job runs: JSON after white space, or event streams."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response

from router.web.waiting.watch import Watch

UNBUFFERED = {"cache-control": "no-store", "x-accel-buffering": "no"}


def padded(watch: Watch, render: Callable[[], Any], *, beat: float) -> Iterator[bytes]:
    """Yield a space per `beat` seconds, then the JSON of the rendered end of the wait."""
    yield b" "
    while not watch.ended(beat):
        yield b" "
    yield json.dumps(render(), separators=(",", ":")).encode()


def written(body: Iterator[bytes], watch: Watch, mimetype: str, release: Callable[[], None]) -> Response:
    """Return a streamed answer of 200; `release` is called at its end.

    A piece is made when its forerunner has gone out, so a slow reader costs a thread and no memory. A write
    that fails counts as leaving.
    """
    response = Response(_pieces(body, watch), mimetype=mimetype, headers=UNBUFFERED)
    response.call_on_close(release)
    return response


def _pieces(body: Iterator[bytes], watch: Watch) -> Iterator[bytes]:
    try:
        for piece in body:
            watch.writing = (time.monotonic(), len(piece))
            yield piece
            watch.writing = None
    except GeneratorExit:
        watch.leave()
        raise
