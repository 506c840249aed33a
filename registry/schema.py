"""The fields of a models file as marshmallow schemas."""

import re
from collections.abc import Iterator, Mapping
from reprlib import Repr
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from registry.adapter_list import Adapters
from registry.lines import Document, Where
from registry.modality import Modality
from registry.models import IMAGE_BYTES, IMAGE_PIXELS, TEXT_ONLY, FlowShift, Size
from registry.part_schema import PartsSchema
from registry.schema_fields import Integer, Mapped, Number, Strict, Text, Texts

_short = Repr()
_short.maxstring = 80


class ShiftSchema(Strict):
    small = Number(0, 100, above=True, required=True)
    large = Number(0, 100, above=True, required=True)


class Shift(fields.Field[FlowShift]):
    """A flow shift: one number for every size, or `{small: 3, large: 5}`."""

    schema = ShiftSchema()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> FlowShift:
        if isinstance(value, Mapping):
            return FlowShift(**self.schema.load(value))
        number = Number(0, 100, above=True).deserialize(value)
        return FlowShift(small=number, large=number)


class WarmUp(fields.Field[bool | tuple[Size, ...]]):
    """A flag, or the sizes of a warm-up."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool | tuple[Size, ...]:
        if isinstance(value, bool):
            return value
        sizes = value if isinstance(value, list) else []
        found = [re.fullmatch(r"(\d{1,5})x(\d{1,5})x(\d{1,6})", str(each)) for each in sizes]
        if not found or not all(found):
            raise ValidationError("must be true, false or a list of sizes, such as [832x480x81]")
        return tuple(Size(*map(int, each.groups())) for each in found if each)


class DefaultsSchema(Strict):
    """The bounds of a request (API.md, section 1); a model's limits come on top."""

    width = Integer(1, 16384)
    height = Integer(1, 16384)
    num_frames = Integer(1, 100_000)
    frames_per_second = Integer(1, 60)
    steps = Integer(1, 1000)
    guidance_scale = Number(0, 20)
    guidance_scale_2 = Number(0, 20)
    flow_shift = Shift()
    negative_prompt = Text(least=0, most=8000)


class LimitsSchema(Strict):
    pixels = Integer(1, 16384 * 16384)
    frames = Integer(1, 100_000)
    steps = Integer(1, 1000)
    prompt = Integer(1, 100_000)
    image_bytes = Integer(1, IMAGE_BYTES)
    image_pixels = Integer(1, IMAGE_PIXELS)
    queued = Integer(1, 1_000_000)


def _devices(names: list[str]) -> None:
    for name in names:
        if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", name):
            raise ValidationError("must be a list of cpu, cuda (every GPU), cuda:0 and so on")


class ModelSchema(Strict):
    source = Text()
    backend = Text(required=True)
    family = Text()
    modality = fields.String(
        validate=validate.OneOf([modality.word for modality in Modality], error="must be one of {choices}"),
        error_messages={"invalid": "must be text"},
    )
    revision = Text()
    parts = fields.Nested(PartsSchema)
    download = fields.Boolean(error_messages={"invalid": "must be true or false"})
    pin = fields.Boolean(error_messages={"invalid": "must be true or false"})
    warm_up = WarmUp()
    priority = Integer(-100, 100)
    price = Number(0, 1_000_000)
    engines = Integer(1, 1000)
    devices = Texts(validate=validate.And(validate.Length(1, error="must name at least one device"), _devices))
    aliases = Texts()
    text_only = fields.String(
        validate=validate.OneOf(TEXT_ONLY, error="must be make or refuse"), error_messages={"invalid": "must be text"}
    )
    adapters = Adapters()
    default_adapters = Texts()
    options = Mapped()
    defaults = fields.Nested(DefaultsSchema)
    limits = fields.Nested(LimitsSchema)


class RouteSchema(Strict):
    members = Texts(required=True, validate=validate.Length(1, error="must name at least one model"))
    aliases = Texts()


class FileSchema(Strict):
    default = Text(most=128)
    models = Mapped(
        required=True,
        validate=validate.Length(1, error="must hold at least one model"),
        error_messages={"required": "is required: a mapping of names to models"},
    )
    routes = Mapped()


def check(document: Document, where: Where, schema: Schema, data: object) -> dict[str, Any]:
    """Return the valid fields of `data` and add a problem for each other."""
    try:
        return dict(schema.load({} if data is None else data, unknown=RAISE))  # type: ignore[arg-type]
    except ValidationError as error:
        messages: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
        for path, message in _flatten(messages, schema, data):
            document.add_problem((*where, *path), message)
        return dict(error.valid_data) if isinstance(error.valid_data, Mapping) else {}


def _flatten(
    messages: Mapping[Any, Any], schema: Schema | None, data: object, path: Where = ()
) -> Iterator[tuple[Where, str]]:
    allowed = [field.data_key or name for name, field in schema.load_fields.items()] if schema else []
    for key, found in messages.items():
        here = path if key == "_schema" else (*path, key)
        if isinstance(found, Mapping):
            yield from _flatten(found, getattr(schema and schema.fields.get(key), "schema", None), data, here)
        elif schema and key != "_schema" and key not in allowed:
            yield here, f"there is no such field; there are {', '.join(allowed) or 'none'}"
        else:
            yield from ((here, message.rstrip(".") + _got(data, here)) for message in found)


def _got(data: object, path: Where) -> str:
    for step in path:
        try:
            data = data[step]  # type: ignore[index]
        except (TypeError, KeyError, IndexError):
            return ""
    return f", got {_short.repr(data)}"
