"""Read a body, a JSON one above all: bounded, strict, and never a surprise."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from flask import request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from router.errors import InvalidRequest, TooLarge, UnsupportedMedia

DRAINED = 192 * 2**20  # bytes read and thrown away so that the caller gets to read the answer
PIECE = 2**20
BROKEN = (OSError, ParseException, ClientDisconnected)  # a caller who left, or whose chunks are none


def read_json(limit: int) -> dict[str, Any]:
    """Return the request's JSON object.

    Raises `TooLarge` beyond `limit` bytes, `UnsupportedMedia`, and `InvalidRequest` (`invalid_json`) for what is
    no JSON object in UTF-8, repeats a key, holds NaN or an infinite number, or nests too deep.
    """
    if request.mimetype != "application/json":  # without it a web page could send jobs to its reader's machine
        raise UnsupportedMedia(f"content-type must be application/json, got {request.mimetype or 'none'}")
    data = read_body(limit, _bad)
    if not data.strip():
        raise _bad("it is empty")
    try:
        value = parse(data.decode())
    except RecursionError:
        raise _bad("it nests too deep") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, integers of thousands of digits
        raise _bad(str(error)) from None
    if not isinstance(value, dict):
        raise _bad(f"it is {type(value).__name__}")
    return value


def parse(text: str) -> Any:
    """Return what `text` is in JSON, strictly; raises `ValueError`, or `RecursionError` where it nests too deep."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def read_body(limit: int, bad: Callable[[str], InvalidRequest]) -> bytes:
    """Return the request's body; raise `TooLarge` beyond `limit` bytes, and what `bad` makes of one that breaks off."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit, f"{request.content_length:,}")
    try:
        data = request.stream.read(limit + 1)
    except BROKEN:
        raise bad("it breaks off") from None
    if len(data) > limit:  # a chunked body tells its length only by ending
        raise _too_large(limit, "more")
    if len(data) < (request.content_length or 0):
        raise bad(f"it breaks off after {len(data):,} of {request.content_length:,} bytes")
    return data


def drain() -> None:
    """Read away what nobody has read of the body, up to a bound; beyond it the connection is closed.

    A caller who still sends when the answer comes may never get to read it, and gunicorn closes a connection
    with an unread body without saying so: the caller's next request on it would fail.
    """
    left = DRAINED
    with suppress(*BROKEN):
        while left > 0 and (piece := request.stream.read(min(left, PIECE))):
            left -= len(piece)


def _too_large(limit: int, got: str) -> TooLarge:
    return TooLarge(f"a body may have {limit:,} bytes, got {got}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:100]!r} appears twice")
        found[key] = value
    return found


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _bad(reason: str) -> InvalidRequest:
    return InvalidRequest(f"the body must be a JSON object: {reason}", code="invalid_json")
