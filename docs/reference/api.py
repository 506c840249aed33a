"""Tables of the fields of requests."""

from collections.abc import Collection
from typing import Any

from marshmallow import Schema, fields

from docs.reference.table import code, table
from router.web.adapters import Adapters, Loras
from router.web.http.fields import Entries, Frame, Integer, Number, Object, Only, StrictBoolean, Text
from router.web.images.schema import CreateImage
from router.web.responses.schema import REPEATED, CreateResponse
from router.web.schemas import TAKEN, MediaOptions
from router.web.videos.schema import PLAIN, CreateVideo

OF_IMAGES = {"prompt", "size", "n", "response_format", "output_format", "background"}  # others are as for a video
KINDS = {
    Loras: "object or list",
    Adapters: "list",
    StrictBoolean: "`true` or `false`",
    Text: "text",
    Frame: "image",
    Object: "object",
    Entries: "list",
    fields.Dict: "object",
    fields.Nested: "object",
}


def options() -> str:
    """Return the options of `provider_options.video`, without those that have no effect."""
    return _fields(MediaOptions(), without=(TAKEN,))


def responses_fields() -> str:
    return _fields(CreateResponse(), without=(REPEATED,))


def videos_fields() -> str:
    """Return the fields of `POST /v1/videos`; those of other servers stand in the text."""
    return _fields(CreateVideo(), without=(), omitted=PLAIN)


def images_fields() -> str:
    """Return the fields of `POST /v1/images/generations` beside those of a video."""
    return _fields(CreateImage(), without=(), omitted=CreateVideo().fields.keys() - OF_IMAGES)


def _fields(schema: Schema, without: Collection[str], omitted: Collection[str] = ()) -> str:
    rows: dict[tuple[str, str], list[str]] = {}  # by kind and meaning: fields of several names stand in one row
    for name, field in schema.fields.items():
        about = str(field.metadata.get("description", ""))
        if about not in ("", *without) and name not in omitted:
            rows.setdefault((_kind(field), about), []).append(code(name))
    return table(("field", "value", "meaning"), [(", ".join(names), *row) for row, names in rows.items()])


def _kind(field: fields.Field[Any]) -> str:
    if isinstance(field, Integer | Number):
        most = f" to {field.bounds.most:g}" if field.bounds.most < 2**31 - 1 else ""
        lead = "above" if field.bounds.above else "from"
        return f"{'integer' if isinstance(field, Integer) else 'number'} {lead} {field.bounds.least:g}{most}"
    if isinstance(field, Only):
        return code(field.text)
    return next((kind for base, kind in KINDS.items() if isinstance(field, base)), "-")
