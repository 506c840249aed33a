"""Answers written while their job runs: event streams, and JSON after white space."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from flask import Response

from router.web.responses.events import DONE, HEARTBEAT, EventSequence
from router.web.responses.render import Rendering
from router.web.waiting.watch import Watch

EVENTS = "text/event-stream"
UNBUFFERED = {"cache-control": "no-store", "x-accel-buffering": "no"}


def stream(watch: Watch, rendering: Rendering, *, after: int, beat: float) -> Iterator[bytes]:
    """Yield the events numbered above `after`, and a comment per `beat` silent seconds.

    The last line is `data: [DONE]`. Where it is missing the job goes on, and so can the reader: this process
    stops, or the longest wait is over.
    """
    sequence = EventSequence(rendering, after)
    if after >= 0:  # the next event may take its time: say now that there will be one
        yield HEARTBEAT
    for job in watch.changes(beat):
        if job is None:
            yield HEARTBEAT
        else:
            yield from sequence.advance(job)
    if watch.deleted:
        yield sequence.deleted(watch.job)
    over = watch.deleted or watch.job.status.finished
    yield DONE if over else b": to be continued at GET /v1/responses/resp_%b?stream=true\n\n" % watch.job.id.encode()


def padded(watch: Watch, rendering: Rendering, *, beat: float) -> Iterator[bytes]:
    """Yield a space per `beat` seconds, then the resource in its last state."""
    yield b" "
    while not watch.ended(beat):
        yield b" "
    resource = rendering.deleted(watch.job) if watch.deleted else rendering.response(watch.job)
    yield json.dumps(resource, separators=(",", ":")).encode()


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
