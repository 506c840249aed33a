"""The field `parts` of an entry: each part's file, before it is resolved."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from registry.folders.weights import SUFFIX
from registry.parts import REPLACEABLE
from registry.schema_fields import Strict, Text
from registry.weight_file import GGUF, File

SUFFIXES = (SUFFIX, GGUF)
EXAMPLE = "split_files/vae/wan_2.1_vae.safetensors"


class PartFileSchema(Strict):
    source = Text(required=True)
    file = File(SUFFIXES, EXAMPLE)
    revision = Text()


class PartFileField(fields.Field[str | Mapping[str, Any]]):
    """The file of a part: a path, `OWNER/NAME/FILE`, or a mapping."""

    schema = PartFileSchema()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str | Mapping[str, Any]:
        if isinstance(value, str):
            return str(Text().deserialize(value))
        if not isinstance(value, Mapping):
            raise ValidationError("must be a path, OWNER/NAME/FILE on the hub, or a mapping with a source and a file")
        try:
            found: Mapping[str, Any] = self.schema.load(value)
        except ValidationError as error:
            raise ValidationError(error.messages) from None  # without its valid fields, which are of no use alone
        return found


class PartsSchema(Strict):
    transformer = PartFileField()
    transformer_2 = PartFileField()
    text_encoder = PartFileField()
    vae = PartFileField()

    @validates_schema
    def need_one(self, found: Mapping[str, Any], **_: Any) -> None:
        if not found:
            raise ValidationError(f"must name the file of a part: {', '.join(REPLACEABLE)}")
