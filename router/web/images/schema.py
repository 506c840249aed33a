"""The body of `POST /v1/images/generations` and `/v1/images/edits`."""

from typing import Any

from marshmallow import validate

from router.web.finished_files import IMAGE_FORMATS
from router.web.http.fields import Frame, Integer, Only, Size, Text
from router.web.schemas import MOST_IMAGES, Lenient
from router.web.videos.schema import REFERENCE, CreateVideo

OF_VIDEOS = ("fps", "frames_per_second", "num_frames")
AUTO = "auto"


class ImageSize(Size):
    """`WIDTHxHEIGHT`, or `auto` for the model's own."""

    def _deserialize(self, value: Any, *args: Any, **more: Any) -> str | None:  # type: ignore[override]
        return None if value == AUTO else super()._deserialize(value, *args, **more)


class CreateImage(CreateVideo):
    """The known keys of a request for images; `warnings` name all others."""

    class Meta(Lenient.Meta):
        exclude = ("seconds", *OF_VIDEOS, "last_image", "last_frame", "end_image")
        include = {  # noqa: RUF012 - marshmallow only reads it
            "size": ImageSize("`WIDTHxHEIGHT` in pixels, made smaller where the model takes less, or `auto`"),
            "n": Integer(1, MOST_IMAGES, "how many images, with seeds counted up"),
            "response_format": Text(
                "`b64_json`, or `url` for links",
                validate=validate.OneOf(["b64_json", "url"], error="must be b64_json or url, got {input}"),
            ),
            "output_format": Text(
                "`png`, `jpeg` or `webp`",
                validate=validate.OneOf(IMAGE_FORMATS, error="must be png, jpeg or webp, got {input}"),
            ),
            "background": Text(
                "`auto` or `opaque`",
                validate=validate.OneOf(["auto", "opaque"], error="must be auto or opaque, got {input}"),
            ),
            "num_outputs_per_prompt": Only(None, "n says how many images"),
            "url": Frame("the image to start from", anyOf=REFERENCE),
            "stream": Only(False, "an image comes whole"),
            "partial_images": Only(0, "an image comes whole"),
        }
