"""The field `parts` of an entry: each part's file, before it is resolved."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from marshmallow import ValidationError, fields, validates_schema

from registry.folders.weights import SUFFIX
from registry.lines import Where
from registry.parts import REPLACEABLE
from registry.schema_fields import Strict, Text
from registry.weight_file import GGUF, File

SUFFIXES = (SUFFIX, GGUF)
EXAMPLE = "split_files/vae/wan_2.1_vae.safetensors"


class PartEntry(NamedTuple):
    """The file of a part as written; `at` is the field of its source."""

    source: str
    file: str | None = None
    revision: str | None = None
    at: Where = ()


class PartFileSchema(Strict):
    source = Text(required=True)
    file = File(SUFFIXES, EXAMPLE)
    revision = Text()


class PartFileField(fields.Field[PartEntry]):
    """The file of a part: a path, `OWNER/NAME/FILE`, or a mapping."""

    schema = PartFileSchema()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> PartEntry:
        if isinstance(value, str):
            return PartEntry(Text().deserialize(value))
        if not isinstance(value, Mapping):
            raise ValidationError("must be a path, OWNER/NAME/FILE on the hub, or a mapping with a source and a file")
        try:
            return PartEntry(**self.schema.load(value), at=("source",))
        except ValidationError as error:
            raise ValidationError(error.messages) from None  # without its valid fields, which are of no use alone


class PartsSchema(Strict):
    transformer = PartFileField()
    transformer_2 = PartFileField()
    text_encoder = PartFileField()
    vae = PartFileField()

    @validates_schema
    def need_one(self, found: Mapping[str, PartEntry], **_: Any) -> None:
        if not found:
            raise ValidationError(f"must name the file of a part: {', '.join(REPLACEABLE)}")
