"""The bodies that are taken, as marshmallow schemas, and their errors in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate

from router.effective import SEEDS
from router.errors import InvalidRequest
from router.web.fields import Integer, Number, Text, Truth

MOST = 2**31 - 1
UNKNOWN = "Unknown field."
NO_OBJECT = ("Invalid input type.", "Not a valid mapping type.")
PLACES = frozenset({"_schema", "key", "value"})  # where in a field marshmallow found the error


class MediaOptions(Schema):
    """`provider_options.video` and `.image`: every field optional, null counts as absent, others are refused."""

    class Meta:
        unknown = RAISE

    width = Integer(1, MOST)
    height = Integer(1, MOST)
    num_frames = Integer(1, MOST)
    frames_per_second = Integer(1, 60)
    steps = Integer(1, MOST)
    guidance_scale = Number(0, 20)
    guidance_scale_2 = Number(0, 20)
    flow_shift = Number(0, 100, above=True)
    negative_prompt = Text()
    seed = Integer(0, SEEDS - 1)
    response_format = Text(validate=validate.OneOf(["url", "b64_json"], error="must be url or b64_json"))
    last_image = fields.Raw(allow_none=True)
    # taken for the sake of clients of other models, checked, without effect on Wan
    true_cfg_scale = Number(0, 100)
    cfg_normalization = Truth()
    cfg_truncation = Number(0, 100)
    residual_threshold = Number(0, 100)


class ProviderOptions(Schema):
    """Blocks of other providers are none of our business."""

    class Meta:
        unknown = EXCLUDE

    video = fields.Nested(MediaOptions, allow_none=True)
    image = fields.Nested(MediaOptions, allow_none=True)


class CreateResponse(Schema):
    """The keys of a request that mean something here; SDKs send many more."""

    class Meta:
        unknown = EXCLUDE

    model = Text()
    input = fields.Raw(allow_none=True)
    instructions = fields.Raw(allow_none=True)
    seed = Integer(0, SEEDS - 1)
    background = Truth()
    stream = Truth()
    store = Truth()
    metadata = fields.Dict(
        keys=Text(validate=validate.Length(max=64, error="must have at most {max} characters")),
        values=Text(validate=validate.Length(max=512, error="must have at most {max} characters")),
        validate=validate.Length(max=16, error="must have at most {max} pairs"),
        allow_none=True,
    )
    provider_options = fields.Nested(ProviderOptions, allow_none=True)


def check(schema: Schema, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are there and not null; raise `InvalidRequest` for the first that is wrong."""
    try:
        return cast(dict[str, Any], _present(schema.load(body)))
    except ValidationError as error:
        path, message = _first(error.messages_dict)
    param = ".".join(path)
    if message == UNKNOWN:
        raise InvalidRequest(
            f"{'.'.join(path[:-1])} has no field {path[-1][:100]!r}", param=param, code="unknown_parameter"
        )
    raise InvalidRequest(f"{param} {message}", param=param)


def _present(value: Any) -> Any:
    """Drop what is null: the SDKs send nulls for what their user left out."""
    if not isinstance(value, dict):
        return value
    return {name: _present(entry) for name, entry in value.items() if entry is not None}


def _first(messages: Mapping[Any, Any], above: tuple[str, ...] = ()) -> tuple[tuple[str, ...], str]:
    """Return the path to the first field that is wrong, and why."""
    name, entry = next(iter(messages.items()))
    path = above if name in PLACES else (*above, str(name))
    if isinstance(entry, Mapping):
        return _first(entry, path)
    message = str(entry[0] if isinstance(entry, list) else entry)
    return path, "must be an object" if message in NO_OBJECT else message
