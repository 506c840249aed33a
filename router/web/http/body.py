"""Request bodies: bounded, and strict JSON."""

from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Any

from flask import request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from router.errors import InvalidRequest, TooLarge, UnsupportedMedia
from router.web.http.strict_json import parse
from router.web.server.environ import RELEASE

BROKEN = (OSError, ParseException, ClientDisconnected)  # a client that disconnected, or broken chunks


def read_json(limit: int, *, beside: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the request's JSON object; `beside` are other media types that the route takes.

    Raises `TooLarge` beyond `limit` bytes; `UnsupportedMedia`; `InvalidRequest` (`invalid_json`) for anything but a
    JSON object in UTF-8 with unique keys, finite numbers and limited depth; `LimitExceeded` as `strict_json.parse`.
    """
    if request.mimetype != "application/json":  # any page could send a simple type to its visitor's machine
        taken = " or ".join(("application/json", *beside))
        raise UnsupportedMedia(f"content-type must be {taken}, got {request.mimetype or 'none'}")
    data = read_body(limit, _bad)
    if not data.strip():
        raise _bad("it is empty")
    try:
        value = parse(data.removeprefix(BOM_UTF8))  # some Windows programs send it
    except RecursionError:
        raise _bad("it nests too deep") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, integers of thousands of digits
        raise _bad("a number has too many digits" if "digits" in str(error) else str(error)) from None
    if not isinstance(value, dict):
        raise _bad(f"it is {type(value).__name__}")
    return value


def read_body(limit: int, bad: Callable[[str], InvalidRequest]) -> bytes:
    """Return the request's body of at most `limit` bytes.

    Raises `TooLarge`, and the error that `bad` makes of the reason if the body breaks off.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit, f"{request.content_length:,}")
    try:
        data = request.stream.read(limit + 1)
    except BROKEN:
        raise bad("it breaks off") from None
    if len(data) > limit:  # the length of a chunked body is known at its end
        raise _too_large(limit, "more")
    if len(data) < (request.content_length or 0):
        raise bad(f"it breaks off after {len(data):,} of {request.content_length:,} bytes")
    return data


def release_body() -> None:
    """Let the worker read another body: this one has been freed."""
    request.environ.get(RELEASE, lambda: None)()


def _too_large(limit: int, got: str) -> TooLarge:
    return TooLarge(f"a body may have {limit:,} bytes, got {got}")


def _bad(reason: str) -> InvalidRequest:
    return InvalidRequest(f"the body must be a JSON object: {reason}", code="invalid_json")
