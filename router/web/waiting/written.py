"""Answers written while their job runs: JSON after white space, or event streams."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from flask import Response, jsonify

from router.runtime.server_paths import ServerPaths
from router.settings import Settings
from router.web.errors import as_http_error, error_body
from router.web.waiting.outcome import CLIENT_LEFT
from router.web.waiting.watch import Watch

UNBUFFERED = {"cache-control": "no-store", "x-accel-buffering": "no"}


def padded(watch: Watch, render: Callable[[], Any], *, beat: float) -> Iterator[bytes]:
    """Yield a space per `beat` seconds, then the rendered JSON."""
    yield b" "
    while not watch.ended(beat):
        yield b" "
    yield json.dumps(render(), separators=(",", ":")).encode()


class JsonWriter:
    """Writes JSON at the end of a wait, white space after a silence."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._paths = ServerPaths(settings.folders)

    def answer(
        self,
        watch: Watch,
        render: Callable[[], Any],
        held: ExitStack,
        late: Callable[[], Any] | None = None,
    ) -> Response:
        """Return the JSON of `render`; `late` renders after white space has gone out.

        Without `late`, an error that `render` raises is then written as its JSON. `held` is closed with the answer.
        Both run without the request.
        """
        if not watch.ended(self._settings.silent_seconds):
            body = padded(watch, late or partial(self._or_error, render), beat=self._settings.pad_seconds)
            return written(body, watch, "application/json", held.pop_all().close)
        return Response(status=CLIENT_LEFT) if watch.left else jsonify(render())

    def _or_error(self, render: Callable[[], Any]) -> Any:
        try:
            return render()
        except Exception as error:  # the status has gone out
            return error_body(as_http_error(error), self._paths)


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
