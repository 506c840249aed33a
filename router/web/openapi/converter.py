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
        """Return a reference to the component that describes `schema`, made now if there is none."""
        found: dict[str, Any] = self.resolve_nested_schema(schema)  # type: ignore[no-untyped-call]
        return found

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        said: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        about = type(schema).__doc__
        return {"description": inspect.cleandoc(about), **said} if about else said

    def field2property(self, field: fields.Field[Any]) -> dict[str, Any]:
        said: dict[str, Any] = super().field2property(field)
        if isinstance(field, Either):
            return {**said, **self._either(field)}
        return self._pairs(field, said) if isinstance(field, fields.Dict) else said

    def _either(self, field: Either) -> dict[str, Any]:
        refs = [self.ref(schema) for schema in field.schemas]
        return refs[0] if len(refs) == 1 else {"anyOf": refs}

    def _pairs(self, field: fields.Dict, said: dict[str, Any]) -> dict[str, Any]:
        """Say how many pairs a mapping may have, and what its keys are; apispec takes it for text."""
        if "maxLength" in said:
            said["maxProperties"] = said.pop("maxLength")
        if field.key_field:
            said["propertyNames"] = self.field2property(field.key_field)
        return said


class Plugin(MarshmallowPlugin):
    Converter = Converter
