"""Fields of a models file: texts, numbers in a range, lists and mappings."""

from collections.abc import Mapping
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, pre_load, validate

from registry.bounds import Bounds

REQUIRED: dict[str, Any] = {"required": "is required"}


class Text(fields.String):
    default_error_messages = {"invalid": "must be text (in quotes if it looks like a number)", **REQUIRED}  # noqa: RUF012

    def __init__(self, most: int = 1000, least: int = 1, **kwargs: Any) -> None:
        within = validate.Length(least, most, error=f"must have from {least} to {most} characters")
        super().__init__(validate=within, **kwargs)


class Integer(fields.Integer):
    """An integer in a range; `true`, `"5"` and 5.0 are none."""

    def __init__(self, least: int, most: int) -> None:
        self.bounds = Bounds(least, most)
        super().__init__()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if not self.bounds.integer(value):
            raise ValidationError(f"must be an integer {self.bounds}")
        return int(value)


class Number(fields.Float):
    """A number in a range; `true` and `"5"` are none."""

    default_error_messages = REQUIRED

    def __init__(self, least: float, most: float, above: bool = False, **kwargs: Any) -> None:
        self.bounds = Bounds(least, most, above)
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> float:
        if not self.bounds.number(value):
            raise ValidationError(f"must be a number {self.bounds}")
        return float(value)


class Texts(fields.List[str]):
    default_error_messages = {"invalid": "must be a list, such as [a, b]", **REQUIRED}  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Text(most=128), **kwargs)


class Mapped(fields.Dict):
    default_error_messages = {"invalid": "must be a mapping"}  # noqa: RUF012


class Strict(Schema):
    """A schema that refuses unknown fields; `name:` without a value counts as absent."""

    error_messages = {"type": "must be a mapping"}  # noqa: RUF012

    class Meta:
        unknown = RAISE

    @pre_load
    def leave_out_nulls(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in self.fields}
