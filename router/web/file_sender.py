"""Files of jobs as answers: by this process, or by nginx."""

import re
from contextlib import AbstractContextManager, ExitStack
from urllib.parse import quote

from flask import Response, request, send_file

from router.settings import Settings
from router.web.finished_files import PresentedFile
from router.web.http.proxies import PROXIED
from router.web.jobs import unknown
from router.web.server.environ import ENDS
from router.web.waiting.waiters import Waiters

SINGLE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d*)")


class FileSender:
    """Sends files with ranges, conditions and an ETag, or has nginx send them."""

    def __init__(self, settings: Settings, waiting: Waiters) -> None:
        self._settings = settings
        self._waiting = waiting

    def send(self, public: str, file: PresentedFile, name: str = "") -> Response:
        """Send a file, or have nginx send it where it brought the request.

        `name` is the one to save it by, without its suffix.
        """
        settings = self._settings
        if settings.accel and PROXIED in request.environ:
            # ranges, conditions and the ETag are nginx's; it keeps the headers set here
            headers = {
                "x-accel-redirect": f"{settings.accel}/{file.path.relative_to(settings.data / 'videos')}",
                "content-disposition": _disposition(f"{name or public}{file.path.suffix}"),
                "cache-control": "no-cache",
            }
            return Response(mimetype=file.media_type, headers=headers)
        if ENDS in request.environ:  # a reader may take long, as one who waits
            _until_sent(self._waiting.slot())
        return _sent(public, file, name)

    def send_here(self, public: str, file: PresentedFile, slot: ExitStack) -> Response:
        """Send a file to its waiting caller from this process; hold its `slot` meanwhile."""
        # nginx would drop the headers of the answer
        _until_sent(slot)
        return _sent(public, file)


def _disposition(name: str) -> str:
    return f"inline; filename={name}" if name.isascii() else f"inline; filename*=UTF-8''{quote(name)}"


def _until_sent(slot: AbstractContextManager[object]) -> None:
    """Hold a slot until the answer has gone out."""
    with ExitStack() as now:
        request.environ.get(ENDS, now).enter_context(slot)


def _sent(public: str, file: PresentedFile, name: str = "") -> Response:
    name = f"{name or public}{file.path.suffix}"
    try:
        _simplify_conditions(file.path.stat().st_size, file.etag)
        return send_file(file.path, mimetype=file.media_type, download_name=name, etag=file.etag, conditional=True)
    except FileNotFoundError:  # deleted this very moment
        raise unknown(public) from None


def _simplify_conditions(size: int, etag: str) -> None:
    """Keep one satisfiable range, and no `If-Match`; RFC 9110 ignores other ranges."""
    environ = request.environ
    environ.pop("HTTP_IF_MATCH", None)  # it guards writes, and nobody writes here
    plain = SINGLE_RANGE.fullmatch(environ.get("HTTP_RANGE", ""))
    known = request.if_none_match.contains_weak(etag)
    if plain is None or known or (plain[1] == "" and len(plain[2]) > 18):
        environ.pop("HTTP_RANGE", None)
    elif plain[1] == "" and int(plain[2]) > size:
        environ["HTTP_RANGE"] = f"bytes=-{size}"
