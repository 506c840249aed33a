"""Schemas that the bodies of both dialects share, and the check of a body against a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate

from router.errors import InvalidRequest
from router.intake.resolve import SEEDS
from router.web.http.fields import Frame, Integer, Number, StrictBoolean, Text, described

MOST = 2**31 - 1
TAKEN = "taken for the sake of clients of other models, checked, and without effect on Wan"
MODEL = "a model, an alias or a route; without it, the server's default"
SEED = "the same seed gives the same video; without one, the server draws one and says which"
IMAGE_URL = [{"$ref": "#/components/schemas/ImageUrl"}, {"type": "null"}]
UNKNOWN = "Unknown field."
NO_OBJECT = ("Invalid input type.", "Not a valid mapping type.")
POSITIONS = frozenset({"_schema", "key", "value"})  # where in a field marshmallow found the error


class MediaOptions(Schema):
    """`provider_options.video` and `.image`: every field optional, null counts as absent, others are refused."""

    class Meta:
        unknown = RAISE

    width = Integer(1, MOST, "pixels, rounded down to what the model takes; together with `height`")
    height = Integer(1, MOST, "pixels, rounded down to what the model takes; together with `width`")
    num_frames = Integer(1, MOST, "made 4k+1, as the models need it; 1 is a single image")
    frames_per_second = Integer(1, 60, "the rate at which the video plays")
    steps = Integer(1, MOST, "denoising steps, up to the model's limit")
    guidance_scale = Number(0, 20, "how closely the prompt is followed")
    guidance_scale_2 = Number(
        0, 20, "the same for the second expert of a model that has two; else it follows the first"
    )
    flow_shift = Number(0, 100, "the scheduler's shift; the default follows the size", above=True)
    negative_prompt = Text("what to keep out of the picture, up to 8,000 characters")
    seed = Integer(0, SEEDS - 1, "the same seed gives the same video; it may stand at the top of the body as well")
    response_format = Text(
        "`url`, or for `POST /v1/responses` also `b64_json`: the file itself, in base64",
        validate=validate.OneOf(["url", "b64_json"], error="must be url or b64_json"),
    )
    last_image = Frame("the last frame, for models that take one", anyOf=IMAGE_URL)
    true_cfg_scale = Number(0, 100, TAKEN)
    cfg_normalization = StrictBoolean(TAKEN)
    cfg_truncation = Number(0, 100, TAKEN)
    residual_threshold = Number(0, 100, TAKEN)


class Lenient(Schema):
    """Other keys are taken; those of a whole body, and blocks of other providers, are named in `warnings`."""

    class Meta:
        unknown = EXCLUDE


class ProviderOptions(Lenient):
    """Blocks of other providers have no effect."""

    video = fields.Nested(MediaOptions, allow_none=True, metadata=described("how to make the video"))
    image = fields.Nested(
        MediaOptions, allow_none=True, metadata=described("the same for one frame; for `POST /v1/responses` only")
    )


def check(schema: Schema, body: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the fields that are there and not null; raise `InvalidRequest` for the first that is wrong.

    `above` is the field that the body stands in, if it stands in one.
    """
    try:
        return cast(dict[str, Any], _present(schema.load(body)))
    except ValidationError as error:
        path, message = _first(error.messages_dict, (above,) if above else ())
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
    path = above if name in POSITIONS else (*above, str(name))
    if isinstance(name, int):  # a place in a list
        path = (*above[:-1], f"{above[-1]}[{name}]")
    if isinstance(entry, Mapping):
        return _first(entry, path)
    message = str(entry[0] if isinstance(entry, list) else entry)
    return path, "must be an object" if message in NO_OBJECT else message
