"""Error answers to requests that never reach the application, in its own format."""

import json
import uuid
from http import HTTPStatus

from gunicorn.http import errors
from gunicorn.http.errors import ParseException

# status, code and message by gunicorn's error; our nginx.conf answers with the same
BY_REASON: dict[type[ParseException], tuple[int, str, str]] = {
    errors.LimitRequestLine: (414, "invalid_value", "the URL is too long"),
    errors.LimitRequestHeaders: (431, "invalid_value", "the headers are too long"),
    errors.ExpectationFailed: (417, "invalid_value", "the header Expect must be 100-continue"),
    errors.UnsupportedTransferCoding: (501, "internal_error", "this transfer encoding is not known"),
    errors.InvalidHTTPVersion: (505, "internal_error", "this version of HTTP is not known"),
}
BROKEN = (400, "invalid_value", "the request breaks the rules of HTTP")
BROKEN_OFF = (400, "invalid_value", "the body of this request breaks off")  # the client has closed its side
FAILED = (500, "internal_error", "something went wrong here; the server's log has the reason")
BUSY = (503, "server_busy", "the server is busy with other requests; try again later", 5)  # seconds until a retry


def of_parsing(error: ParseException) -> bytes:
    return answer(*next((refusal for kind, refusal in BY_REASON.items() if isinstance(error, kind)), BROKEN))


def too_slow(part: str, seconds: float) -> bytes:
    """Return the answer to headers or a body that missed their deadline."""
    return answer(408, "request_timeout", f"the {part} of this request did not arrive within {seconds:g} s")


def answer(status: int, code: str, message: str, retry_after: int | None = None) -> bytes:
    """Return a complete answer that closes the connection."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = json.dumps({"error": {"message": message, "type": kind, "param": "", "code": code}}) + "\n"
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-content-type-options": "nosniff",
        "x-request-id": uuid.uuid4().hex,
    }
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items()))
    return "\r\n".join((*lines, "", body)).encode()
