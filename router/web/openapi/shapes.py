"""The words in which the shapes of answers are written down, as marshmallow schemas and fields.

No answer is made with them: a test holds what is answered against the document that is made from them.
"""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, fields, validate

from router.web.http.fields import described


class Answer(Schema):
    """A part of an answer: each of its keys is always there, but for those that are `sometimes`."""

    class Meta:
        unknown = EXCLUDE  # a later version may add keys

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.required = not field_obj.metadata.get("sometimes")


class Either(fields.Raw):
    """One of several kinds of object."""

    def __init__(self, about: str, *schemas: type[Schema], **more: Any) -> None:
        self.schemas = schemas
        super().__init__(metadata=described(about, **more))


def string(about: str, *, none: bool = False, **more: Any) -> fields.String:
    return fields.String(allow_none=none, metadata=described(about, **more))


def integer(about: str, *, none: bool = False, **more: Any) -> fields.Integer:
    return fields.Integer(allow_none=none, metadata=described(about, **{"minimum": 0, **more}))


def number(about: str, *, none: bool = False, **more: Any) -> fields.Float:
    return fields.Float(allow_none=none, metadata=described(about, **more))


def truth(about: str, *, none: bool = False, **more: Any) -> fields.Boolean:
    return fields.Boolean(allow_none=none, metadata=described(about, **more))


def word(about: str, *words: str, none: bool = False, **more: Any) -> fields.String:
    """One of a few words."""
    return fields.String(allow_none=none, validate=validate.OneOf(words), metadata=described(about, **more))


def part(schema: type[Schema], about: str, *, none: bool = False, **more: Any) -> fields.Nested:
    return fields.Nested(schema, allow_none=none, metadata=described(about, **more))


def several(about: str, *schemas: type[Schema]) -> fields.List[Any]:
    return fields.List(Either("one of them", *schemas), metadata=described(about))


def strings(about: str, **more: Any) -> fields.List[str]:
    return fields.List(fields.String(), metadata=described(about, **more))


def mapping(about: str, *, none: bool = False, **more: Any) -> fields.Dict:
    return fields.Dict(allow_none=none, metadata=described(about, **more))
