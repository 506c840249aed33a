"""Schemas that the bodies of both dialects share."""

from __future__ import annotations

from marshmallow import EXCLUDE, RAISE, Schema, fields, validate

from router.intake.resolve import SEEDS
from router.web.http.fields import Frame, Integer, Number, StrictBoolean, Text, nullable

MOST = 2**31 - 1
TAKEN = "taken for the sake of clients of other models, checked, and without effect on Wan"
MODEL = "a model, an alias or a route; without it, the server's default"
SEED = "the same seed gives the same video; without one, the server draws one and says which"
IMAGE_URL = [{"$ref": "#/components/schemas/ImageUrl"}, {"type": "null"}]


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
    """A schema that accepts unknown keys; the answer's `warnings` name them."""

    class Meta:
        unknown = EXCLUDE


class ProviderOptions(Lenient):
    """Blocks of other providers have no effect."""

    video = fields.Nested(MediaOptions, **nullable("how to make the video"))
    image = fields.Nested(MediaOptions, **nullable("the same for one frame; for `POST /v1/responses` only"))
