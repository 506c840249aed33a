"""What the bodies of both dialects share: schemas, and steps of reading."""

import difflib
from collections.abc import Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from typing import Any, cast

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate

from registry import Input
from router.errors import InvalidRequest
from router.intake.resolve import SEEDS
from router.request import ImageInput, Options
from router.web.adapters import Adapters
from router.web.finished_files import IMAGE_FORMATS
from router.web.http.fields import Frame, Integer, Number, StrictBoolean, Text, invalid_value, nullable

MOST = 2**31 - 1
TAKEN = "taken for the sake of clients of other models, checked, and without effect on Wan"
MODEL = "a model, an alias or a route; without it, the server's default"
SEED = "the same seed gives the same video; without one, the server draws one and says which"
IMAGE_URL = [{"$ref": "#/components/schemas/ImageUrl"}, {"type": "null"}]
UNKNOWN = "Unknown field."
NO_OBJECT = ("Invalid input type.", "Not a valid mapping type.")
MOST_IMAGES = 4  # of one request
_NO_FORMAT = "must be png, jpeg or webp, got {input}"
LORAS = ("lora", "loras")
POSITIONS = frozenset({"_schema", "key", "value"})  # marshmallow's names for the parts of a field
OPTIONS = tuple(field.name for field in fields_of(Options))


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
    adapters = Adapters("adapters of the model's entry to use in place of its usual ones; `[]` for none")
    true_cfg_scale = Number(0, 100, TAKEN)
    cfg_normalization = StrictBoolean(TAKEN)
    cfg_truncation = Number(0, 100, TAKEN)
    residual_threshold = Number(0, 100, TAKEN)


class ImageOptions(MediaOptions):
    """`provider_options.image`: the fields of a video, and those of MAX for an image."""

    num_images = Integer(1, MOST_IMAGES, "how many images, with seeds counted up")
    output_format = Text("`png`, `jpeg` or `webp`", validate=validate.OneOf(IMAGE_FORMATS, error=_NO_FORMAT))
    secondary_prompt = Text(TAKEN)
    secondary_negative_prompt = Text(TAKEN)
    strength = Number(0, 1, TAKEN)


class Lenient(Schema):
    """A schema that accepts unknown keys; the answer's `warnings` name them."""

    class Meta:
        unknown = EXCLUDE


class ProviderOptions(Lenient):
    """Blocks of other providers have no effect."""

    video = fields.Nested(MediaOptions, **nullable("how to make the video"))
    image = fields.Nested(ImageOptions, **nullable("how to make an image of one frame; for `POST /v1/responses` only"))


def check(schema: Schema, body: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the fields that are not null; raise `InvalidRequest` for the first wrong one.

    `above` is the field that the body stands in, if it stands in one.
    """
    try:
        return cast(dict[str, Any], _present(schema.load(body)))
    except ValidationError as error:
        path, message = _first(error.messages_dict, (above,) if above else ())
    param = ".".join(path)
    if message == UNKNOWN:
        message = f"{'.'.join(path[:-1])} has no field {path[-1][:100]!r}{_meant(path[-1], path[-2])}"
        raise InvalidRequest(message, param=param, code="unknown_parameter")
    raise InvalidRequest(f"{param} {message}", param=param)


def check_model(name: Any, param: str = "model") -> None:
    """Raise `InvalidRequest` for an empty name of a model."""
    if name == "":
        raise InvalidRequest("model must be the name of a model, got ''", param=param)


def read_options(values: Mapping[str, Any]) -> Options:
    return Options(**{name: values[name] for name in OPTIONS if name in values})


def one_frame(options: Options, param: str = "provider_options.image.num_frames") -> Options:
    """Return the options of an image; raise `InvalidRequest` for more than one frame."""
    if options.num_frames not in (None, 1):
        message = f"{param} must be 1, got {options.num_frames}: provider_options.video makes more"
        raise InvalidRequest(message, param=param)
    return replace(options, num_frames=1)


def read_image(value: Any, role: Input, param: str) -> ImageInput:
    """Return the image behind an `image_url`: a string, or an object with `url`."""
    url = value.get("url") if isinstance(value, dict) else value
    if not isinstance(url, str) or not url:
        raise invalid_value(param, "an http(s) or data: URL", value)
    return ImageInput(role, url, param)


def refuse_file_id(holder: Any, where: str) -> None:
    """Refuse an image that is named by the id of a file."""
    if isinstance(holder, dict) and holder.get("file_id") is not None:
        param = f"{where}.file_id"
        raise InvalidRequest(f"{param} means nothing here, as no files are kept: send the image itself", param=param)


def _meant(name: str, block: str) -> str:
    """Return the words for the closest field of a block, else for all."""
    known = (ImageOptions if block == "image" else MediaOptions)._declared_fields
    close = ["adapters"] if name in LORAS else difflib.get_close_matches(name[:40].lower(), known, 1, 0.7)
    return f": did you mean {close[0]}?" if close else f"; it has {', '.join(known)}"


def _present(value: Any) -> Any:
    """Drop nulls: the SDKs send them for what their user left out."""
    if not isinstance(value, dict):
        return value
    return {name: _present(entry) for name, entry in value.items() if entry is not None}


def _first(messages: Mapping[Any, Any], above: tuple[str, ...] = ()) -> tuple[tuple[str, ...], str]:
    """Return the path to the first wrong field, and the reason."""
    name, entry = next(iter(messages.items()))
    path = above if name in POSITIONS else (*above, str(name))
    if isinstance(name, int):  # an index
        path = (*above[:-1], f"{above[-1]}[{name}]")
    if isinstance(entry, Mapping):
        return _first(entry, path)
    message = str(entry[0] if isinstance(entry, list) else entry)
    return path, "must be an object" if message in NO_OBJECT else message
