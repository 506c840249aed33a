"""One handler turns errors into JSON; nothing else builds an error body."""

import logging
from functools import partial

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from router import errors
from router.errors import HttpError, Unavailable, is_disk_full, is_outage, is_unwritable, reason
from router.errors.storage import is_refusal
from router.runtime.server_paths import ServerPaths

BY_STATUS = {
    400: errors.InvalidRequest,
    404: errors.UnknownJob,
    405: errors.NotAllowed,
    413: errors.TooLarge,
    415: errors.UnsupportedMedia,
    416: errors.RangeNotSatisfiable,
}
SOON = (("retry-after", "5"),)
log = logging.getLogger(__name__)


def install(app: Flask, paths: ServerPaths) -> None:
    """Answer every error, without the server's paths in its own failures."""

    def answer_error(error: Exception) -> Response:
        return answer(as_http_error(error), paths)

    app.register_error_handler(HTTPException, partial(_answer_http, paths=paths))
    app.register_error_handler(Exception, answer_error)


def answer(error: HttpError, paths: ServerPaths) -> Response:
    """Return the JSON answer of an error."""
    g.code = error.code
    response = jsonify(error_body(error, paths))
    response.status_code = error.status
    response.headers.extend(error.headers)
    return response


def error_body(error: HttpError, paths: ServerPaths) -> dict[str, dict[str, str]]:
    """Return the JSON object of an error: four keys, each a short Unicode string."""
    # below 500 it is made of what the caller sent; else the text of a library may name folders
    message = error.message if error.status < 500 else paths.hide(error.message)
    if message != error.message:
        log.warning("answered without the paths in it: %s", error.message)
    shown = {"message": _shown(message, 4000), "type": error.type, "param": _shown(error.param, 200)}
    return {"error": {**shown, "code": error.code}}


def _shown(text: str, most: int) -> str:
    return text[:most].encode("utf-8", "backslashreplace").decode()


def _answer_http(error: HTTPException, paths: ServerPaths) -> Response:
    kind = BY_STATUS.get(error.code or 500, HttpError)
    response = answer(kind(_message_of(error)), paths)
    response.status_code = error.code or 500
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _message_of(error: HTTPException) -> str:
    if isinstance(error, NotFound | MethodNotAllowed):
        allowed = ", ".join(getattr(error, "valid_methods", None) or ())
        absent = f"there is no {request.method} {request.path[:200]}"
        return f"{absent}, only {allowed}" if allowed else f"not found: {absent}"
    return error.description or error.name


def as_http_error(error: Exception) -> HttpError:
    """Return the error of an answer for any exception; log an unexpected one."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, RecursionError):
        return errors.InvalidRequest("the body nests too deep", code="invalid_json")
    if is_disk_full(error):
        return Unavailable("the server's disk is full; try again later", code="disk_full", headers=SOON)
    if is_outage(error) or is_refusal(error):  # of both the log has a line already
        message = "the store is out of reach, and this request needs it; try again later"
        return Unavailable(message, code="store_unavailable", headers=SOON)
    if is_unwritable(error):
        log.error("the store or its disk cannot be used: %s", reason(error))
        message = (
            "nothing can be stored now: the store is locked or damaged, or its disk cannot be written; try again later"
        )
        return Unavailable(message, code="store_unavailable", headers=SOON)
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return HttpError("something went wrong here; the log has the reason under this answer's x-request-id")
