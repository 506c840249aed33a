"""The body of `POST /v1/videos`, with other servers' names of its fields."""

import copy
from typing import Any

from marshmallow import fields, validate

from router.intake.resolve import SEEDS
from router.web.adapters import Loras
from router.web.http.fields import Frame, Integer, Object, Only, Seconds, Size, Text, nullable
from router.web.schemas import LORAS, MODEL, SEED, Lenient, MediaOptions, ProviderOptions

REFERENCE = [{"type": "string"}, {"$ref": "#/components/schemas/Reference"}, {"type": "null"}]
PLAIN = {  # names of other servers at the top of `POST /v1/videos`, and the option that each means
    **{name: name for name in ("width", "height", "num_frames", "frames_per_second", "steps")},
    **{name: name for name in ("guidance_scale", "guidance_scale_2", "flow_shift", "negative_prompt")},
    "adapters": "adapters",
    "fps": "frames_per_second",
    "num_inference_steps": "steps",
}
FIRST_FRAMES = (
    *("input_reference", "image", "image_url", "image_reference", "reference_url"),
    *("input_image", "first_frame", "first_image", "start_image"),
)
LORA = "adapters as vLLM-Omni's clients send them: an object with name and scale, or a list of them; never a path"
LAST_FRAMES = ("last_image", "last_frame", "end_image")
SIZES = ("image_size", "last_image_size")
EXTRAS = ("extra_body", "extra_params")
ONE = "a request makes one video"
NAMED = "adapters are those of the model's entry, by their names"
NO_CALLBACK = "nothing is called back; GET /v1/videos/ID says how far it is"
ONLY: dict[str, tuple[str | int | bool | None, str]] = {  # what would mislead those who send it, unless it is this
    "n": (1, ONE),
    "num_outputs_per_prompt": (1, ONE),
    "stream": (False, "POST /v1/responses streams"),
    "background": (True, "POST /v1/responses waits"),
    "response_format": ("url", "GET /v1/videos/ID/content has the bytes"),
    "lora_path": (None, NAMED),
    "lora_paths": (None, NAMED),
    "callback_url": (None, NO_CALLBACK),
    "webhook_url": (None, NO_CALLBACK),
}


def pixels_of(size: str) -> tuple[int, int]:
    """Return the width and height of `WIDTHxHEIGHT`."""
    width, height = size.lower().split("x")
    return int(width), int(height)


def _like(option: str) -> fields.Field[Any]:
    """Return a field of `MediaOptions` for the top of a body."""
    field = copy.copy(MediaOptions().declared_fields[option])
    field.metadata = {**field.metadata, "description": f"the same as `provider_options.video.{option}`"}
    return field


def _word(about: str, *words: str) -> Text:
    return Text(about, validate=validate.OneOf(words, error=f"must be {' or '.join(words)}, got {{input}}"))


class CreateVideo(Lenient):
    """The known keys of a request for a video; `warnings` name all others.

    What is said twice must be the same.
    """

    class Meta(Lenient.Meta):
        include = {  # noqa: RUF012 - marshmallow only reads it
            **{name: _like(option) for name, option in PLAIN.items()},
            **{name: Frame("the image to start from", anyOf=REFERENCE) for name in FIRST_FRAMES},
            **{name: Frame("the last frame, for models that take one", anyOf=REFERENCE) for name in LAST_FRAMES},
            **{name: Loras(LORA) for name in LORAS},
            **{name: Object("more of these fields") for name in EXTRAS},
            **{name: Only(*only) for name, only in ONLY.items()},
        }

    prompt = Text("what to show, up to 8,000 characters")
    model = Text(MODEL)
    seconds = Seconds(0.1, 3600, "the length: so many seconds at the rate that is used")
    size = Size("`WIDTHxHEIGHT` in pixels, rounded down to what the model takes")
    seed = Integer(0, SEEDS - 1, SEED)
    provider_options = fields.Nested(ProviderOptions, **nullable("`video` has what the other fields have no word for"))


class EstimateVideo(CreateVideo):
    """A request for a video, with sizes in place of its images."""

    image_size = Size("`WIDTHxHEIGHT` in pixels of the image to start from, in place of the image itself")
    last_image_size = Size("the same of the last frame")


class GenerateVideo(CreateVideo):
    """The body of `POST /v1/videos/generations`, as MLPerf's client sends it."""

    class Meta(Lenient.Meta):
        include = {  # noqa: RUF012 - marshmallow only reads it
            "latent_path": Only(None, "a seed gives the first noise"),
            "output_format": _word("the file is an mp4", "auto", "mp4"),
            "response_format": _word("the video itself, or its path in a shared folder", "video_bytes", "video_path"),
        }
