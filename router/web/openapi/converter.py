"""From marshmallow to JSON Schema: what apispec cannot know of our schemas and fields."""

from __future__ import annotations

import inspect
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from router.web.answer_fields import Either


class Converter(OpenAPIConverter):
    def ref(self, schema: Schema | type[Schema]) -> dict[str, Any]:
        """Return a reference to the component of `schema`, made now if missing."""
        found: dict[str, Any] = self.resolve_nested_schema(schema)  # type: ignore[no-untyped-call]
        return found

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        described: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        about = type(schema).__doc__
        return {"description": inspect.cleandoc(about), **described} if about else described

    def field2property(self, field: fields.Field[Any]) -> dict[str, Any]:
        described: dict[str, Any] = super().field2property(field)
        if isinstance(field, Either):
            refs = [self.ref(schema) for schema in field.schemas]
            return {**described, **(refs[0] if len(refs) == 1 else {"anyOf": refs})}
        return self._pairs(field, described) if isinstance(field, fields.Dict) else described

    def _pairs(self, field: fields.Dict, described: dict[str, Any]) -> dict[str, Any]:
        """Describe the number of pairs and the keys; apispec describes text."""
        if "maxLength" in described:
            described["maxProperties"] = described.pop("maxLength")
        if field.key_field:
            described["propertyNames"] = self.field2property(field.key_field)
        return described


class Plugin(MarshmallowPlugin):
    Converter = Converter
