"""Marshmallow fields for strict JSON types.

5.0 is an integer; "5" and true are not. Each field has a description (`about`), and its metadata is the JSON Schema of
its check.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

from registry.bounds import Bounds
from router.errors import InvalidRequest
from router.web.http.strict_json import parse

UNCLEAN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")  # but tab and line ends
CLEAN = (
    r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"  # the same for JSON Schema, which knows no surrogates
)
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,29})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
SIZE = re.compile(r"[1-9][0-9]{0,8}[xX][1-9][0-9]{0,8}")


class Integer(fields.Integer):
    def __init__(self, least: int, most: int, about: str) -> None:
        self.bounds = Bounds(least, most)
        super().__init__(**nullable(about, minimum=least, maximum=most))

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> int:
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if not self.bounds.integer(number):
            raise ValidationError(f"must be an integer {self.bounds}, got {shown(value)}")
        return int(number)


class Number(fields.Float):
    """A number between two bounds; `above` excludes the lower one."""

    def __init__(self, least: float, most: float, about: str, *, above: bool = False, **schema: Any) -> None:
        self.bounds = Bounds(least, most, above)
        bounds = {"exclusiveMinimum" if above else "minimum": least, "maximum": most}
        super().__init__(**nullable(about, **bounds, **schema))

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> float:
        if not self.bounds.number(value):
            raise ValidationError(f"must be a number {self.bounds}, got {shown(value)}")
        return float(value)


class Seconds(Number):
    """A number, also as text, as the SDKs send it."""

    def __init__(self, least: float, most: float, about: str) -> None:
        super().__init__(least, most, about, type=["number", "string"], pattern=f"^(?:{NUMBER.pattern})$")

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> float:
        return super()._deserialize(number_in(value) if isinstance(value, str) else value, attr, data, **more)


class Text(fields.String):
    """Text without lone surrogates, and without control characters but white space."""

    def __init__(self, about: str, *, pattern: str = CLEAN, **more: Any) -> None:
        super().__init__(**nullable(about, pattern=pattern), **more)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError(f"must be a string, got {shown(value)}")
        if problem := unclean(value):
            raise ValidationError(f"must be text, got {problem}")
        return value


class Size(Text):
    """`WIDTHxHEIGHT`, in pixels."""

    def __init__(self, about: str) -> None:
        super().__init__(about, pattern=f"^{SIZE.pattern}$")

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> str:
        text = super()._deserialize(value, attr, data, **more)
        if not SIZE.fullmatch(text):
            raise ValidationError(f"must be WIDTHxHEIGHT in pixels, such as 832x480, got {shown(text)}")
        return text


class StrictBoolean(fields.Boolean):
    def __init__(self, about: str) -> None:
        super().__init__(**nullable(about))

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError(f"must be true or false, got {shown(value)}")
        return value


class Only(fields.Raw):
    """A field of other servers with one allowed value; `why` explains the limit."""

    def __init__(self, value: str | int | bool | None, why: str) -> None:
        self.value, self.why = value, why
        self.text = value if isinstance(value, str) else json.dumps(value)
        values = [value] if value is None else [value, None]
        super().__init__(**nullable(f"`{self.text}` only: {why}", enum=values))

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> Any:
        if isinstance(value, bool) is not isinstance(self.value, bool) or value != self.value:
            raise ValidationError(f"must be {self.text}, got {shown(value)}: {self.why}")
        return value


class Object(fields.Raw):
    """An object, also as JSON text in a form."""

    def __init__(self, about: str) -> None:
        super().__init__(**nullable(about, type=["object", "string", "null"]))

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> dict[str, Any]:
        found = object_in(value)
        if not isinstance(found, dict):
            raise ValidationError(f"must be an object, or one as JSON text, got {shown(value)}")
        return found


class Entries(fields.List[Any]):
    """A list, validated before its entries: there may be millions."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> list[Any]:
        if isinstance(value, list):
            self._validate(value)
        return super()._deserialize(value, attr, data, **more)


class Pairs(fields.Dict):
    """A mapping, validated before its pairs: there may be millions."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> dict[Any, Any]:
        if isinstance(value, Mapping):
            self._validate(value)
        found: dict[Any, Any] = super()._deserialize(value, attr, data, **more)  # type: ignore[no-untyped-call]
        return found


class Frame(fields.Raw):
    """An image: a URL, an object, or a form's file or JSON text."""

    def __init__(self, about: str, **schema: Any) -> None:
        super().__init__(**nullable(about, **schema))

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> Any:
        if not isinstance(value, str) or not value.lstrip().startswith("{"):
            return value
        if (found := object_in(value)) is None:
            raise ValidationError(f"must be an image: a URL, or JSON with image_url, got {shown(value)}")
        return found


def described(about: str, **schema: Any) -> dict[str, Any]:
    """Return a field's metadata: its description and more of its JSON Schema."""
    return {"description": about, **schema}


def nullable(about: str, **schema: Any) -> dict[str, Any]:
    """Return the arguments of a request's field; null counts as absent."""
    return {"allow_none": True, "metadata": described(about, **schema)}


def without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema that no longer allows null."""
    found = dict(schema)
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        found["type"] = kinds[0] if len(kinds) == 1 else kinds
    if "enum" in schema:
        found["enum"] = [value for value in schema["enum"] if value is not None]
    if "anyOf" in schema:
        found["anyOf"] = [without_null(option) for option in schema["anyOf"] if option != {"type": "null"}]
    return found


def number_in(text: str) -> int | float | str:
    """Parse a JSON number; return any other text unchanged."""
    match = NUMBER.fullmatch(text)
    if match is None:
        return text
    return float(text) if match[1] or match[2] else int(text)


def object_in(value: Any) -> Any:
    """Parse JSON text, None if invalid; return any other value unchanged."""
    try:
        return parse(value.encode()) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None


def unclean(text: str) -> str | None:
    """Describe the first character that `Text` does not allow; None if there is none."""
    found = UNCLEAN.search(text)
    if found is None:
        return None
    what = "half a surrogate pair" if "\ud800" <= found[0] <= "\udfff" else "the control character"
    return f"{what} U+{ord(found[0]):04X} at position {found.start()}"


def invalid_value(param: str, wanted: str, got: object) -> InvalidRequest:
    """Return the error of a field or parameter with another value than `wanted`."""
    return InvalidRequest(f"{param} must be {wanted}, got {shown(got)}", param=param)


def shown(value: object) -> str:
    """Return a value for a message: short, on one line, decodable by every client."""
    text = ascii(value) if isinstance(value, str) and unclean(value) else repr(value)
    text = {"True": "true", "False": "false", "None": "null"}.get(text, text)
    return text if len(text) <= 80 else text[:77] + "..."
