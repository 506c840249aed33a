"""A body of `POST /v1/videos` as a `Request`: its own words for the prompt, the image, the size and the length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from registry import Input
from router.errors import InvalidRequest
from router.requests import Options, Picture, Request
from router.values import Job
from router.web.fields import shown
from router.web.form import Upload
from router.web.inputs import picture
from router.web.schemas import CreateVideo, check

VIDEO = "provider_options.video"
NAMES = {"prompt": "prompt", "inputs": "input_reference"}


CREATE = CreateVideo()


def read_video_request(body: Mapping[str, Any]) -> Request:
    """Return what `body` asks for; raises `InvalidRequest` naming the field that is wrong."""
    if body.get("model") == "":
        raise InvalidRequest("model must be the name of a model, got ''", param="model")
    asked = check(CREATE, body)
    media = _media(asked.get("provider_options", {}))
    options = {name: media[name] for name in (f.name for f in fields(Options)) if name in media}
    names = dict(NAMES)
    if "size" in asked:
        options |= _size(asked["size"], media)
        names |= {"width": "size", "height": "size"}
    if "seconds" in asked:
        options["seconds"] = asked["seconds"]
        names |= {} if "num_frames" in media else {"num_frames": "seconds"}
    return Request(
        model=asked.get("model"),
        prompt=_prompt(asked),
        pictures=_pictures(asked.get("input_reference"), media.get("last_image")),
        options=Options(**options),
        seed=asked.get("seed", media.get("seed")),
        names=names,
        form=_form(asked.get("seconds")),
    )


def read_remix_prompt(body: Mapping[str, Any]) -> str:
    """Return the prompt of a remix; everything else is the source's, so what else was said is refused by name."""
    asked = check(CREATE, body)
    for name in asked:
        if name != "prompt":
            raise InvalidRequest(f"a remix has the {name} of its source: send a prompt only", param=name)
    return _prompt(asked)


def form_of_remix(source: Job) -> dict[str, Any]:
    """Return what the answer of a remix depends on."""
    return {**_form(source.form.get("seconds")), "remixed_from": source.id}


def _prompt(asked: Mapping[str, Any]) -> str:
    prompt: str = asked.get("prompt", "")
    if not prompt.strip():
        message = "prompt is missing: every model here needs one"
        raise InvalidRequest(message, param="prompt", code="missing_required_parameter")
    return prompt


def _media(provider_options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `provider_options.video`; refuse what only `POST /v1/responses` does."""
    if "image" in provider_options:
        param = "provider_options.image"
        raise InvalidRequest(f"{param} is for POST /v1/responses: the options must be {VIDEO} here", param=param)
    media: Mapping[str, Any] = provider_options.get("video", {})
    if media.get("response_format") == "b64_json":
        message = "response_format must be url here: GET /v1/videos/ID/content has the bytes, got b64_json"
        raise InvalidRequest(message, param=f"{VIDEO}.response_format")
    return media


def _size(size: str, media: Mapping[str, Any]) -> dict[str, int]:
    """Return the width and the height, in pixels; refuse options that say otherwise."""
    said = dict(zip(("width", "height"), map(int, size.lower().split("x")), strict=True))
    for name, value in said.items():
        if media.get(name, value) != value:
            message = f"size is {size}, but {VIDEO}.{name} is {media[name]}: give one of them"
            raise InvalidRequest(message, param=f"{VIDEO}.{name}")
    return said


def _pictures(reference: Any, last: Any) -> tuple[Picture, ...]:
    if isinstance(reference, dict):
        reference = _referred(reference)
    given = (
        (reference, Input.IMAGE, "input_reference"),
        (last, Input.LAST_IMAGE, f"{VIDEO}.last_image"),
    )
    return tuple(_picture(value, role, param) for value, role, param in given if value is not None)


def _referred(reference: Mapping[str, Any]) -> Any:
    if "file_id" in reference:
        param = "input_reference.file_id"
        raise InvalidRequest(f"{param} means nothing here, as no files are kept: send the image itself", param=param)
    if "image_url" not in reference:
        message = f"input_reference must be a file, or an object with image_url, got {shown(reference)}"
        raise InvalidRequest(message, param="input_reference")
    return reference["image_url"]


def _picture(value: Any, role: Input, param: str) -> Picture:
    if isinstance(value, Upload):
        return Picture(role, url="", param=param, data=value.data)
    return picture(value, role, param)


def _form(seconds: float | None) -> dict[str, Any]:
    """Return what the answer depends on: `part` in the Responses dialect, `seconds` as they were asked for in ours."""
    return {"part": "output_video", "seconds": seconds}
