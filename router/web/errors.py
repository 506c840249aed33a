"""One handler turns errors into JSON; nothing else builds an error body."""

import logging

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from router import errors
from router.errors import HttpError, Unavailable, is_disk_full, is_unwritable, reason
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

    def without_paths(error: HttpError) -> Response:
        # below 500 it is made of what the caller sent; else the text of a library may name folders
        message = error.message if error.status < 500 else paths.hide(error.message)
        if message != error.message:
            log.warning("answered without the paths in it: %s", error.message)
        return answer(error, message)

    app.register_error_handler(HttpError, without_paths)
    app.register_error_handler(HTTPException, _answer_http)
    too_deep = errors.InvalidRequest("the body nests too deep", code="invalid_json")
    app.register_error_handler(RecursionError, lambda _: answer(too_deep))
    app.register_error_handler(Exception, _answer_unexpected)


def answer(error: HttpError, message: str | None = None) -> Response:
    """Return the JSON answer of an error: four keys, each a short Unicode string."""
    g.code = error.code
    response = jsonify(error_body(error, message))
    response.status_code = error.status
    response.headers.extend(error.headers)
    return response


def error_body(error: HttpError, message: str | None = None) -> dict[str, dict[str, str]]:
    """Return the JSON object of an error."""
    message, param = _shown(message or error.message, 4000), _shown(error.param, 200)
    return {"error": {"message": message, "type": error.type, "param": param, "code": error.code}}


def _shown(text: str, most: int) -> str:
    return text[:most].encode("utf-8", "backslashreplace").decode()


def _answer_http(error: HTTPException) -> Response:
    kind = BY_STATUS.get(error.code or 500, HttpError)
    response = answer(kind(_message_of(error)))
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


def _answer_unexpected(error: Exception) -> Response:
    if is_disk_full(error):
        return answer(Unavailable("the server's disk is full; try again later", code="disk_full", headers=SOON))
    if is_unwritable(error):
        log.error("the store or its disk cannot be used: %s", reason(error))
        message = (
            "nothing can be stored now: the store is locked or damaged, or its disk cannot be written; try again later"
        )
        return answer(Unavailable(message, code="store_unavailable", headers=SOON))
    log.exception("unexpected %s", type(error).__name__)
    return answer(HttpError("something went wrong here; the log has the reason under this answer's x-request-id"))
