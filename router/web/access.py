"""Who called, under which id, and how it went."""

from __future__ import annotations

import logging
import re
import time
import uuid
from ipaddress import ip_address
from urllib.parse import quote

from flask import Flask, Response, g, request

from router.errors import Refused
from router.idempotency import HEADER
from router.logs import request_id
from router.settings import Settings
from router.web.body import drain

CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
log = logging.getLogger(__name__)


def install(app: Flask, settings: Settings) -> None:
    """Give each request an id, refuse strangers while there are no keys, and log each answer."""

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        given = request.headers.get("x-request-id", "")
        g.request_id = given if CLIENT_ID.fullmatch(given) else uuid.uuid4().hex
        request_id.set(g.request_id)
        if not settings.no_auth:
            _refuse_strangers()

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["x-request-id"] = g.get("request_id") or uuid.uuid4().hex
        drain()
        taken = time.perf_counter() - g.get("started", time.perf_counter())
        log.info("%s %s %d in %.3f s", request.method, quote(request.path), response.status_code, taken)
        return response


def owner() -> str:
    """Return whose jobs this request sees; keys, and with them other owners, come with a later issue."""
    return "local"


def idempotency_key() -> str | None:
    """Return the caller's name for this request, None if it has none."""
    return request.headers.get(HEADER)


def _refuse_strangers() -> None:
    """Refuse a connection that did not come over loopback or a unix socket, however the server was bound."""
    socket = request.environ.get("gunicorn.socket")
    if socket is None:
        return
    name = socket.getsockname()
    if isinstance(name, tuple) and not ip_address(name[0].split("%")[0]).is_loopback:
        raise Refused("this server takes requests from this machine only: FRAMEGATE_NO_AUTH=1 opens it to others")
