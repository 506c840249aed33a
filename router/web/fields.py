"""JSON types, strictly: no text for numbers, no truth values for numbers; but 5.0 is an integer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

UNCLEAN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")  # tab and line ends are text


class Integer(fields.Integer):
    """An integer between two bounds, as JSON Schema counts them."""

    def __init__(self, least: int, most: int, **more: Any) -> None:
        self.least, self.most = least, most
        super().__init__(allow_none=True, **more)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or not self.least <= value <= self.most:
            raise ValidationError(f"must be an integer from {self.least} to {self.most}, got {shown(value)}")
        return int(value)


class Number(fields.Float):
    """A number between two bounds; `above` excludes the lower one."""

    def __init__(self, least: float, most: float, *, above: bool = False, **more: Any) -> None:
        self.least, self.most, self.above = least, most, above
        super().__init__(allow_none=True, **more)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.least <= value <= self.most or (self.above and value == self.least):
            least = f"above {self.least:g}" if self.above else f"from {self.least:g}"
            raise ValidationError(f"must be a number {least} to {self.most:g}, got {shown(value)}")
        return float(value)


class Text(fields.String):
    """Text that a store and a tokenizer can take: no lone surrogates, no control characters but white space."""

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_none=True, **more)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError(f"must be a string, got {shown(value)}")
        if problem := unclean(value):
            raise ValidationError(f"must be text, got {problem}")
        return value


class Truth(fields.Boolean):
    """JSON's true or false."""

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_none=True, **more)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError(f"must be true or false, got {shown(value)}")
        return value


def unclean(text: str) -> str | None:
    """Return what in `text` is no text, None if all is well."""
    found = UNCLEAN.search(text)
    if found is None:
        return None
    what = "half a surrogate pair" if "\ud800" <= found[0] <= "\udfff" else "the control character"
    return f"{what} U+{ord(found[0]):04X} at position {found.start()}"


def shown(value: object) -> str:
    """Return a value as a message shows it: short, on one line, in a form that every client can decode."""
    text = ascii(value) if isinstance(value, str) and unclean(value) else repr(value)
    text = {"True": "true", "False": "false", "None": "null"}.get(text, text)
    return text if len(text) <= 80 else text[:77] + "..."
