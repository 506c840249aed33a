"""Parse the body of a request for images."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from router.errors import InvalidRequest, ModalityMismatch
from router.request import Request
from router.values import OutputPart
from router.web.finished_files import PNG
from router.web.images.schema import CreateImage
from router.web.schemas import one_frame
from router.web.videos.parse import read_flat_request

CREATE = CreateImage()
WHERE = "an image goes into image"
LISTS = ("image", "images")  # OpenAI's clients send one image as a list, too


def read_image_request(body: Mapping[str, Any], *, edits: bool, attended: bool) -> Request:
    """Parse a body; `edits` says that it needs an image.

    Raises `InvalidRequest` with the name of the wrong field, `ModalityMismatch` for more than one image.
    """
    flat = read_flat_request(_unlisted(body), CREATE, block="image", where=WHERE, attended=attended)
    request, values = flat.request, flat.values
    if edits and not request.pictures:
        raise InvalidRequest(
            "image is missing: an edit starts from an image", param="image", code="missing_required_parameter"
        )
    presentation = replace(
        request.presentation,
        part=OutputPart.IMAGE,
        inline=values.get("response_format", "b64_json") == "b64_json",
        file_format=values.get("output_format", PNG),
    )
    named = {} if request.pictures else {"inputs": "image"}
    return replace(
        request,
        options=one_frame(request.options),
        presentation=presentation,
        fit_size=True,
        names={**request.names, **named, "num_images": "n"},
        count=values.get("n", 1),
    )


def _unlisted(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body with its one image apart from a list."""
    found: dict[str, Any] = {}
    for name in LISTS:
        sent = body.get(name)
        images = sent if isinstance(sent, list) else [] if sent is None else [sent]
        if len(images) > 1:
            raise ModalityMismatch(f"{name} has {len(images)} images: a request takes one", param=name)
        found |= {name: images[0]} if images else {}
    if len(found) > 1:
        raise InvalidRequest("image and images are two images for one frame: give one of them", param="images")
    others = {name: value for name, value in body.items() if name not in LISTS}
    return {**others, "image": next(iter(found.values()), None)}
