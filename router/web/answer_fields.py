"""Fields of answers: each renders its value and describes it for the API document."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from marshmallow import EXCLUDE, Schema, fields, missing, validate

from router.web.http.fields import described

Made = TypeVar("Made", bound=fields.Field[Any])
Read = Callable[[Any], Any]  # from the object that is rendered; `missing` leaves the key out


class Answer(Schema):
    """A part of an answer; `dump` renders it, the document describes it.

    A key is always there, unless its field is `sometimes`. Its value is what `read` returns of the rendered object,
    else the attribute or key of the field's name; None for a missing key whose field allows it.
    """

    class Meta:
        unknown = EXCLUDE  # a later version may add keys

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._plan = [
            (name, field.metadata.get("read"), _inner(field), None if field.required and field.allow_none else missing)
            for name, field in self.fields.items()
        ]

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.required = not field_obj.metadata.get("sometimes")

    def dump(self, obj: Any, *, many: bool | None = None) -> dict[str, Any]:
        # marshmallow's own takes 150 us for a response, this 25; and 1 stays 1, where its floats are 1.0
        answer: dict[str, Any] = {}
        for name, read, inner, absent in self._plan:
            if read is not None:
                value = read(obj)
            else:
                value = obj.get(name, absent) if isinstance(obj, dict) else getattr(obj, name)
            if value is not missing:
                answer[name] = value if inner is None or value is None else inner(value)
        return answer


def _inner(field: fields.Field[Any]) -> Read | None:
    """Return the renderer of a field's value, None where it is JSON already."""
    if isinstance(field, fields.Nested):
        return field.schema.dump
    if isinstance(field, fields.List):
        one = _inner(field.inner)
        return list if one is None else lambda values: [one(value) for value in values]
    return None


class Either(fields.Raw):
    """One of several kinds of object, rendered before."""

    def __init__(self, about: str, *schemas: type[Schema], **more: Any) -> None:
        self.schemas = schemas
        super().__init__(metadata=described(about, **more))


def _field(kind: Callable[..., Made], about: str, read: Read | None = None, *, none: bool = False, **more: Any) -> Made:
    return kind(allow_none=none, metadata=described(about, read=read, **more))


string = partial(_field, fields.String)
integer = partial(_field, fields.Integer, minimum=0)
number = partial(_field, fields.Float)
boolean = partial(_field, fields.Boolean)
mapping = partial(_field, fields.Dict)
strings = partial(_field, partial(fields.List, fields.String))


def enum(about: str, *words: str, **more: Any) -> fields.String:
    """Return a field of one of a few words."""
    return _field(partial(fields.String, validate=validate.OneOf(words)), about, **more)


def constant(about: str, value: str) -> fields.String:
    return enum(about, value, read=lambda _: value)


def nested(schema: type[Schema], about: str, read: Read | None = None, **more: Any) -> fields.Nested:
    return _field(partial(fields.Nested, schema), about, read, **more)


def one_of(about: str, *schemas: type[Schema], read: Read | None = None) -> fields.List[Any]:
    """Return a list of rendered objects, each of one of the schemas."""
    return fields.List(Either("one of them", *schemas), metadata=described(about, read=read))


def when(condition: Read, read: Read) -> Read:
    """Return a `read` that leaves the key out unless `condition` holds."""
    return lambda source: read(source) if condition(source) else missing
