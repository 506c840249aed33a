"""The steps that the readers of both dialects share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from marshmallow import Schema, ValidationError

from registry import Input
from router.errors import InvalidRequest
from router.request import ImageInput, Options
from router.web.http.fields import shown

UNKNOWN = "Unknown field."
NO_OBJECT = ("Invalid input type.", "Not a valid mapping type.")
POSITIONS = frozenset({"_schema", "key", "value"})  # marshmallow's names for the parts of a field
OPTIONS = tuple(field.name for field in fields(Options))


def check(schema: Schema, body: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the fields that are not null; raise `InvalidRequest` for the first wrong one.

    `above` is the field that the body stands in, if it stands in one.
    """
    try:
        return cast(dict[str, Any], _present(schema.load(body)))
    except ValidationError as error:
        path, message = _first(error.messages_dict, (above,) if above else ())
    param = ".".join(path)
    if message == UNKNOWN:
        message = f"{'.'.join(path[:-1])} has no field {path[-1][:100]!r}"
        raise InvalidRequest(message, param=param, code="unknown_parameter")
    raise InvalidRequest(f"{param} {message}", param=param)


def check_model(name: Any, param: str = "model") -> None:
    """Raise `InvalidRequest` for an empty name of a model."""
    if name == "":
        raise InvalidRequest("model must be the name of a model, got ''", param=param)


def read_options(values: Mapping[str, Any]) -> Options:
    return Options(**{name: values[name] for name in OPTIONS if name in values})


def read_image(value: Any, role: Input, param: str) -> ImageInput:
    """Return the image behind an `image_url`: a string, or an object with `url`."""
    url = value.get("url") if isinstance(value, dict) else value
    if not isinstance(url, str) or not url:
        raise InvalidRequest(f"{param} must be an http(s) or data: URL, got {shown(value)}", param=param)
    return ImageInput(role, url, param)


def refuse_file_id(holder: Any, where: str) -> None:
    """Refuse an image that is named by the id of a file."""
    if isinstance(holder, dict) and holder.get("file_id") is not None:
        param = f"{where}.file_id"
        raise InvalidRequest(f"{param} means nothing here, as no files are kept: send the image itself", param=param)


def _present(value: Any) -> Any:
    """Drop nulls: the SDKs send them for what their user left out."""
    if not isinstance(value, dict):
        return value
    return {name: _present(entry) for name, entry in value.items() if entry is not None}


def _first(messages: Mapping[Any, Any], above: tuple[str, ...] = ()) -> tuple[tuple[str, ...], str]:
    """Return the path to the first wrong field, and the reason."""
    name, entry = next(iter(messages.items()))
    path = above if name in POSITIONS else (*above, str(name))
    if isinstance(name, int):  # an index
        path = (*above[:-1], f"{above[-1]}[{name}]")
    if isinstance(entry, Mapping):
        return _first(entry, path)
    message = str(entry[0] if isinstance(entry, list) else entry)
    return path, "must be an object" if message in NO_OBJECT else message
