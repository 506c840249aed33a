"""The fields of an adapter in a models file as a marshmallow schema."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load

from registry.adapters import STRENGTH, PerExpert
from registry.schema import DefaultsSchema
from registry.schema_fields import Number, Strict, Text
from registry.weight_file import File


class StrengthSchema(Strict):
    high = Number(STRENGTH.least, STRENGTH.most, required=True)
    low = Number(STRENGTH.least, STRENGTH.most, required=True)


class Strength(fields.Field[PerExpert[float]]):
    """A strength: one number for every expert, or `{high: 3, low: 1.5}`."""

    schema = StrengthSchema()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> PerExpert[float]:
        if isinstance(value, Mapping):
            found = PerExpert[float](**self.schema.load(value))
        else:
            number = Number(STRENGTH.least, STRENGTH.most).deserialize(value)
            found = PerExpert(number, number)
        if not any(found):
            raise ValidationError("must not be 0, at which an adapter is not used")
        return found


class FilesSchema(Strict):
    high = File()
    low = File()

    @post_load
    def need_one(self, found: dict[str, str], **_: Any) -> PerExpert[str | None]:
        if not found:
            raise ValidationError("must name the file of an expert: high, low or both")
        return PerExpert(found.get("high"), found.get("low"))


class Files(fields.Field[PerExpert[str | None]]):
    """One file for every expert, or `{high: a.safetensors, low: b.safetensors}`."""

    schema = FilesSchema()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> PerExpert[str | None]:
        if isinstance(value, Mapping):
            found: PerExpert[str | None] = self.schema.load(value)
            return found
        file = File().deserialize(value)
        return PerExpert(file, file)


class AdapterSchema(Strict):
    source = Text()
    revision = Text()
    files = Files()
    strength = Strength()
    defaults = fields.Nested(DefaultsSchema)
    merge = fields.Boolean(error_messages={"invalid": "must be true or false"})
