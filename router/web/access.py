"""The caller of a request, its id, and the access log."""

import logging
import re
import time
import uuid
from functools import partial
from urllib.parse import quote

from flask import Flask, Response, g, request

from router.auth.keys import Scope
from router.errors import Refused
from router.jobs.idempotency import HEADER
from router.metrics import Metrics
from router.runtime import logs
from router.web.auth.authenticate import ANYBODY, Authenticator, Caller, lacks_scope

CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
log = logging.getLogger(__name__)


def install(app: Flask, callers: Authenticator, metrics: Metrics) -> None:
    """Give each request an id, authenticate its caller, log and count its answer."""

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        sent_id = request.headers.get("x-request-id", "")
        g.request_id = sent_id if CLIENT_ID.fullmatch(sent_id) else uuid.uuid4().hex
        logs.request_id.set(g.request_id)
        logs.job_id.set("")
        g.is_here = callers.is_here
        g.caller = callers.identify()

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["x-request-id"] = g.get("request_id") or uuid.uuid4().hex
        response.headers["x-content-type-options"] = "nosniff"  # a browser takes it for what it is sent as
        began = g.get("started", time.perf_counter())
        known = g.get("caller")
        by = known.key.name if known and known.key else ""  # the key's name, never the key
        write = partial(_log, request.method, request.path, response.status_code, began, request.remote_addr, by)
        if response.is_streamed and not response.direct_passthrough:
            response.call_on_close(write)  # when the last event, or the video that was waited for, has gone out
        else:
            write()
        metrics.answered(response.status_code, g.get("code"))
        return response


def caller() -> Caller:
    found: Caller = g.caller
    return found


def owner() -> str | None:
    """Return whose jobs this request sees, None for everybody's."""
    return caller().sees


def is_admin() -> bool:
    """Return whether the caller may administer the server.

    Without keys that is whoever calls from this machine.
    """
    by = caller()
    if by.key is None:
        return by is ANYBODY and bool(g.is_here())  # a signed link is good for its path alone
    return by.key.may(Scope.ADMIN)


def require_admin() -> None:
    """Raise `Refused` for a caller who may not administer the server."""
    if is_admin():
        return
    key = caller().key
    if key is None:
        raise Refused(
            "without keys the server is administered from this machine only, "
            "got one from elsewhere, under another name, or by a page of another site"
        )
    raise lacks_scope(key, Scope.ADMIN)


def share() -> str:
    """Return the name that shared resources are counted by: the owner, or an address."""
    by = caller()
    return f"owner {by.owner}" if by.key else f"address {request.remote_addr}"


def idempotency_key() -> str | None:
    """Return the caller's name for this request, None if it has none."""
    return request.headers.get(HEADER)


def _log(method: str, path: str, status: int, started: float, address: str | None, by: str) -> None:
    """Write the access line; in the request's thread, where the log knows the ids."""
    taken, path, client = time.perf_counter() - started, quote(path), address or "a unix socket"
    facts = {"method": method, "path": path, "status": status, "seconds": round(taken, 6), "client": client, "by": by}
    whom = f"{client} by {by}" if by else client
    log.info("%s %s %d in %.3f s for %s", method, path, status, taken, whom, extra=facts)
