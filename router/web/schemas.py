"""The bodies that are taken, as marshmallow schemas, and their errors in our words."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate

from router.errors import InvalidRequest
from router.intake.resolve import SEEDS
from router.web.http.fields import (
    Entries,
    Frame,
    Integer,
    Number,
    Object,
    Only,
    Pairs,
    Seconds,
    Size,
    Text,
    Truth,
    described,
)

MOST = 2**31 - 1
MOST_TOOLS = 1000
TAKEN = "taken for the sake of clients of other models, checked, and without effect on Wan"
MODEL = "a model, an alias or a route; without it, the server's default"
SEED = "the same seed gives the same video; without one, the server draws one and says which"
REPEATED = "checked and repeated, without effect on a video"
IMAGE_URL = [{"$ref": "#/components/schemas/ImageUrl"}, {"type": "null"}]
REFERENCE = [{"type": "string"}, {"$ref": "#/components/schemas/Reference"}, {"type": "null"}]
PLAIN = {  # names of other servers at the top of `POST /v1/videos`, and the option that each means
    **{
        name: name
        for name in (
            *("width", "height", "num_frames", "frames_per_second", "steps"),
            *("guidance_scale", "guidance_scale_2", "flow_shift", "negative_prompt"),
        )
    },
    "fps": "frames_per_second",
    "num_inference_steps": "steps",
}
FIRST_FRAMES = (
    *("input_reference", "image", "image_url", "image_reference", "reference_url"),
    *("input_image", "first_frame", "first_image", "start_image"),
)
LAST_FRAMES = ("last_image", "last_frame", "end_image")
EXTRAS = ("extra_body", "extra_params")
ONE = "a request makes one video"
NO_ADAPTERS = "no model here has adapters to choose"
NO_CALLBACK = "nothing is called back; GET /v1/videos/ID says how far it is"
ONLY: dict[str, tuple[str | int | bool | None, str]] = {  # what would mislead those who send it, unless it is this
    "n": (1, ONE),
    "num_outputs_per_prompt": (1, ONE),
    "stream": (False, "POST /v1/responses streams"),
    "background": (True, "POST /v1/responses waits"),
    "response_format": ("url", "GET /v1/videos/ID/content has the bytes"),
    "lora": (None, NO_ADAPTERS),
    "loras": (None, NO_ADAPTERS),
    "callback_url": (None, NO_CALLBACK),
    "webhook_url": (None, NO_CALLBACK),
}
UNKNOWN = "Unknown field."
NO_OBJECT = ("Invalid input type.", "Not a valid mapping type.")
PLACES = frozenset({"_schema", "key", "value"})  # where in a field marshmallow found the error


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
    cfg_normalization = Truth(TAKEN)
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


class FunctionTool(Lenient):
    """A tool that a caller offers; of other types than functions only the type is looked at."""

    type = Text("`function`; tools of other types are read over")
    name = Text("the function's name", validate=validate.Length(max=128, error="must have at most {max} characters"))
    description = Text("what the function does")
    parameters = fields.Dict(allow_none=True, metadata=described("the JSON Schema of its arguments"))
    strict = Truth("whether the arguments must fit the schema")


class TextFormat(Lenient):
    """How a text model's answer would look; repeated in the answer, without effect on a video."""

    type = Text(
        "the kind of format",
        validate=validate.OneOf(["text", "json_object", "json_schema"], error="must be one of {choices}"),
    )
    name = Text("the schema's name")
    description = Text("what the schema is for")
    schema = fields.Dict(allow_none=True, metadata=described("a JSON Schema"))
    strict = Truth("whether the text must fit the schema")


class TextOptions(Lenient):
    format = fields.Nested(TextFormat, allow_none=True, metadata=described(REPEATED))
    verbosity = Text(REPEATED)


class Reasoning(Lenient):
    effort = Text(REPEATED)
    summary = Text(REPEATED)


class CreateResponse(Lenient):
    """The keys of a request that mean something here; the answer's `warnings` name all others."""

    model = Text(MODEL)
    input = fields.Raw(
        allow_none=True,
        metadata=described(
            "the prompt, or messages: the last one of the user is the request, system text is put in front of it",
            type=["string", "array"],
            items={"$ref": "#/components/schemas/InputItem"},
        ),
    )
    instructions = fields.Raw(allow_none=True, metadata=described("text that is put in front of the prompt"))
    seed = Integer(0, SEEDS - 1, SEED)
    background = Truth("`true`: answer at once, with `status: queued`, and make the video meanwhile")
    stream = Truth("`true`: answer with server-sent events")
    store = Truth("`true`: make the video even if the caller goes away; `background` and a key say the same")
    metadata = Pairs(
        keys=Text("a name", validate=validate.Length(max=64, error="must have at most {max} characters")),
        values=Text("a value", validate=validate.Length(max=512, error="must have at most {max} characters")),
        validate=validate.Length(max=16, error="must have at most {max} pairs"),
        allow_none=True,
        metadata=described("text of the caller's own, which the answer repeats"),
    )
    provider_options = fields.Nested(
        ProviderOptions,
        allow_none=True,
        metadata=described("with `video` or `image` the answer has an `output_video` or `output_image`, else text"),
    )
    tools = Entries(
        fields.Nested(FunctionTool),
        validate=validate.Length(max=MOST_TOOLS, error="must have at most {max} entries"),
        allow_none=True,
        error_messages={"invalid": "must be a list of tools"},
        metadata=described("functions; one of them is called where it must be, or where no video was asked for"),
    )
    tool_choice = fields.Raw(
        allow_none=True,
        metadata=described(
            "which function to call; `none` for a video",
            anyOf=[{"enum": ["none", "auto", "required", None]}, {"type": "object"}],
        ),
    )
    previous_response_id = Text(REPEATED)
    parallel_tool_calls = Truth(REPEATED)
    truncation = Text(REPEATED, validate=validate.OneOf(["auto", "disabled"], error="must be auto or disabled"))
    text = fields.Nested(TextOptions, allow_none=True, metadata=described(REPEATED))
    reasoning = fields.Nested(Reasoning, allow_none=True, metadata=described(REPEATED))
    temperature = Number(0, 2, REPEATED)
    top_p = Number(0, 1, REPEATED)
    presence_penalty = Number(-2, 2, REPEATED)
    frequency_penalty = Number(-2, 2, REPEATED)
    top_logprobs = Integer(0, 20, REPEATED)
    max_output_tokens = Integer(1, MOST, REPEATED)
    max_tool_calls = Integer(1, MOST, REPEATED)
    service_tier = Text("`priority` goes before other jobs of its model, `flex` after them; all else is as they are")
    safety_identifier = Text(REPEATED)
    prompt_cache_key = Text(REPEATED)


def _like(option: str) -> fields.Field[Any]:
    """Return a field of `MediaOptions` for another place."""
    field = copy.copy(MediaOptions().declared_fields[option])
    field.metadata = {**field.metadata, "description": f"the same as `provider_options.video.{option}`"}
    return field


class CreateVideo(Lenient):
    """The keys of a request for a video that mean something here; the answer's `warnings` name all others.

    What is said twice must be the same.
    """

    class Meta(Lenient.Meta):
        include = {  # noqa: RUF012 - marshmallow only reads it
            **{name: _like(option) for name, option in PLAIN.items()},
            **{name: Frame("the image to start from", anyOf=REFERENCE) for name in FIRST_FRAMES},
            **{name: Frame("the last frame, for models that take one", anyOf=REFERENCE) for name in LAST_FRAMES},
            **{name: Object("more of these fields") for name in EXTRAS},
            **{name: Only(*only) for name, only in ONLY.items()},
        }

    prompt = Text("what to show, up to 8,000 characters")
    model = Text(MODEL)
    seconds = Seconds(0.1, 3600, "the length: so many seconds at the rate that is used")
    size = Size("`WIDTHxHEIGHT` in pixels, rounded down to what the model takes")
    seed = Integer(0, SEEDS - 1, SEED)
    provider_options = fields.Nested(
        ProviderOptions, allow_none=True, metadata=described("`video` has what the other fields have no word for")
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
    path = above if name in PLACES else (*above, str(name))
    if isinstance(name, int):  # a place in a list
        path = (*above[:-1], f"{above[-1]}[{name}]")
    if isinstance(entry, Mapping):
        return _first(entry, path)
    message = str(entry[0] if isinstance(entry, list) else entry)
    return path, "must be an object" if message in NO_OBJECT else message
