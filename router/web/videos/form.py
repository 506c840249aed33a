"""Read a form with bracketed names as a JSON object with files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import request
from marshmallow import Schema, fields
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from router.errors import InvalidRequest, LimitExceeded, UnsupportedMedia
from router.web.adapters import Adapters
from router.web.http.body import read_body, read_json
from router.web.http.fields import Integer, Number, Object, Only, StrictBoolean, number_in, shown
from router.web.http.strict_json import MAX_TEXT
from router.web.videos.form_names import invalid_form, path_of, put

MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"
FORMS = (MULTIPART, URLENCODED)
MOST_PARTS = 200
MOST_NAME = 200  # characters of a part's name
LONGEST_NAME = 3 * 4 * MOST_NAME  # bytes of a name that is all escapes
MOST_ESCAPES = 2**20
PIECE = 2**14  # bytes; twice that is the longest header of a part
TRUTHS = {"true": True, "false": False, "True": True, "False": False}  # Python's str() writes the last two


@dataclass(frozen=True)
class Upload:
    """The bytes of a file part; its declared name and type are ignored."""

    data: bytes

    def __repr__(self) -> str:
        return f"a file of {len(self.data):,} bytes"


def read_fields(limit: int, schema: Schema, file_name: str = "input_reference") -> dict[str, Any]:
    """Return the object of a JSON body or a form.

    Raises as `read_json` and `read_form`; `file_name` is the field of files that an error recommends.
    """
    return read_form(limit, schema, file_name) if request.mimetype in FORMS else read_json(limit, beside=FORMS)


def read_form(limit: int, schema: Schema, file_name: str) -> dict[str, Any]:
    """Return the object behind a form like `a[b]=1`, typed by `schema`; files are `Upload`s.

    Raises `TooLarge` beyond `limit` bytes, `InvalidRequest` (`invalid_form`) for what is no form, and for names that
    repeat or contradict each other. Forms of other sites' pages are refused before (`HostNames`).
    """
    found: dict[str, Any] = {}
    parts = _pairs if request.mimetype == URLENCODED else _parts
    for name, value in parts(read_body(limit, invalid_form)):
        path = path_of(name)
        if isinstance(value, Upload) and path[0] not in schema.fields:
            message = f"a file must come as {file_name}, got one as {shown(name)}"
            raise InvalidRequest(message, param=name, code="unknown_parameter")
        put(found, path, name, value)
    return coerced(found, schema)


def coerced(found: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Convert a form's text to the types of `schema`.

    Unreadable text stays text: the schema refuses it with its own message.
    """
    return {name: _typed(value, schema.fields.get(name), schema) for name, value in found.items()}


def _typed(value: Any, kind: fields.Field[Any] | None, schema: Schema) -> Any:
    if isinstance(kind, fields.Nested) and isinstance(value, dict):
        return coerced(value, kind.schema)
    if isinstance(kind, Adapters):
        return kind.of_form(value)
    if isinstance(kind, Object) and isinstance(value, dict):
        return coerced(value, schema)  # more of its fields
    if not isinstance(value, str):
        return value
    if isinstance(kind, Only):
        return kind.value if value == kind.text else TRUTHS.get(value, number_in(value))
    if isinstance(kind, StrictBoolean):
        return TRUTHS.get(value, value)
    return number_in(value) if isinstance(kind, Integer | Number) else value


def _pairs(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield the fields of an urlencoded form."""
    if body.lstrip()[:1] == b"{":  # as curl's -d sends it
        raise UnsupportedMedia(f"content-type must be application/json for a JSON body, got {URLENCODED}")
    if body.count(b"&") >= MOST_PARTS:
        raise invalid_form(f"it may have {MOST_PARTS} fields, got more")
    if body.count(b"%") > MOST_ESCAPES:
        raise LimitExceeded(f"a form may have {MOST_ESCAPES:,} escapes such as %20, got more")
    left = MAX_TEXT
    for pair in filter(None, body.split(b"&")):
        encoded, _, data = pair.partition(b"=")
        name = _checked(_text("a field's name", _unquoted(encoded[: LONGEST_NAME + 1])))
        value = _unquoted(data)
        left -= len(value)
        if left < 0:
            raise _too_long(name)
        yield name, _text(name, value)


def _unquoted(data: bytes) -> bytes:
    """Decode `+` and `%XX`, in pieces: each escape takes fifty bytes for a moment."""
    pieces, start = [], 0
    while start < len(data):
        end = start + PIECE
        cut = data.rfind(b"%", end - 2, end)  # an escape stays whole
        end = end if cut == -1 else cut
        pieces.append(unquote_to_bytes(data[start:end].replace(b"+", b" ")))
        start = end
    return b"".join(pieces)


def _parts(body: bytes) -> Iterator[tuple[str, str | Upload]]:
    name, pieces, is_file, parts, left = "", list[bytes](), False, 0, MAX_TEXT
    for event in _events(body):
        if isinstance(event, Field | File):
            name, pieces, is_file, parts = _checked(event.name), [], isinstance(event, File), parts + 1
            if parts > MOST_PARTS:
                raise invalid_form(f"it may have {MOST_PARTS} parts, got more")
        elif isinstance(event, Data):
            left -= 0 if is_file else len(event.data)
            if left < 0:
                raise _too_long(name)
            pieces.append(event.data)
            if not event.more_data:
                yield name, Upload(b"".join(pieces)) if is_file else _text(name, b"".join(pieces))


def _events(body: bytes) -> Iterator[object]:
    decoder = MultipartDecoder(_boundary(), max_form_memory_size=2 * PIECE)
    try:
        for start in range(0, len(body), PIECE):
            decoder.receive_data(body[start : start + PIECE])
            while not isinstance(event := decoder.next_event(), NeedData):
                yield event
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue):
            yield event
    except RequestEntityTooLarge:
        raise invalid_form(f"a part's header may have {PIECE:,} bytes, got more") from None
    except ValueError:  # no header, a header that is no text, an end that never comes
        raise invalid_form("its parts are broken, or it breaks off") from None


def _boundary() -> bytes:
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary or len(boundary) > MOST_NAME or not boundary.isascii():
        raise invalid_form("its content-type must name the boundary between its parts")
    return boundary.encode()


def _checked(name: str) -> str:
    """Return the name of a part; raise `InvalidRequest` for an empty or long one."""
    if not name:
        raise invalid_form("each part must have a name")
    if len(name) > MOST_NAME:
        raise invalid_form(f"a part's name may have {MOST_NAME} characters, got {len(name):,}")
    return name


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name} must be text in UTF-8", param=name) from None


def _too_long(name: str) -> LimitExceeded:
    return LimitExceeded(f"the fields of a form may have {MAX_TEXT:,} bytes besides files, got more", param=name)
