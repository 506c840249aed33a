"""A body of `POST /v1/responses` as a `Request`, and what its answer must look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from registry import Input
from router.errors import InvalidRequest, ModalityMismatch
from router.requests import Options, Picture, Request
from router.web.echo import echo
from router.web.inputs import picture, read_input
from router.web.schemas import CreateResponse, check
from router.web.tools import Call, find_call, is_answered, read_choice, read_tools

MEDIA = ("video", "image")
SCHEMA = CreateResponse()
TIERS = {"priority": 1, "flex": -1}  # how far from all others


@dataclass(frozen=True)
class Asked:
    """A parsed call: what to make, how to answer, and the function to call instead, if it comes to that."""

    request: Request
    background: bool
    stream: bool
    call: Call | None


def read_response_request(body: Mapping[str, Any], *, keyed: bool = False) -> Asked:
    """Return what `body` asks for; raises `InvalidRequest` naming the field that is wrong.

    `keyed` says that the caller may come again with the same idempotency key.
    """
    if body.get("model") == "":
        raise InvalidRequest("model must be the name of a model, got ''", param="model")
    asked = check(SCHEMA, body)
    said = read_input(asked.get("input"), asked.get("instructions"))
    block, media = _media(asked.get("provider_options", {}))
    tools = read_tools(asked.get("tools", ()))
    choice = read_choice(asked.get("tool_choice"), tools)
    request = Request(
        model=asked.get("model"),
        prompt=said.prompt,
        pictures=said.pictures + _last_image(block, media, said.pictures),
        options=_options(block, media),
        seed=asked.get("seed", media.get("seed")),
        tier=TIERS.get(asked.get("service_tier", ""), 0),
        params=f"provider_options.{block or 'video'}",
        form={**_form(asked, block, media, keyed), **echo(asked, tools, choice)},
    )
    answered = is_answered(asked["input"])
    call = find_call(tools, choice, said.prompt, wants_media=bool(block), answered=answered)
    return Asked(request, asked.get("background", False), asked.get("stream", False), call)


def _options(block: str, media: Mapping[str, Any]) -> Options:
    """Return the options of a block; that of an image makes one frame."""
    options = {name: media[name] for name in (f.name for f in fields(Options)) if name in media}
    if block == "image":
        if (frames := media.get("num_frames", 1)) != 1:
            param = "provider_options.image.num_frames"
            raise InvalidRequest(f"{param} must be 1, got {frames}: provider_options.video makes more", param=param)
        options["num_frames"] = 1
    return Options(**options)


def _last_image(block: str, media: Mapping[str, Any], given: tuple[Picture, ...]) -> tuple[Picture, ...]:
    """Return the image of the options, as the last frame; refuse a second last frame rather than drop one."""
    if "last_image" not in media:
        return ()
    param = f"provider_options.{block}.last_image"
    if any(one.role is Input.LAST_IMAGE for one in given):
        message = f"input has two images, the second is the last frame: {param} is one too many"
        raise ModalityMismatch(message, param="input")
    return (picture(media["last_image"], Input.LAST_IMAGE, param),)


def _media(provider_options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the block that counts: `video` before `image`; '' and nothing where there is neither."""
    for block in MEDIA:
        if block in provider_options:
            return block, provider_options[block]
    return "", {}


def _form(asked: Mapping[str, Any], block: str, media: Mapping[str, Any], keyed: bool) -> dict[str, Any]:
    """Return what the answer depends on: text clients, which send no media options, need an `output_text` part.

    A job is `attended`, and cancelled when its caller leaves, unless they said that they may come back for it:
    with `background`, with an idempotency key, or with a `store` that is true. A `store` that was left out
    counts as true in the answer only, as every SDK leaves it out.
    """
    background = asked.get("background", False)
    return {
        "part": f"output_{block}" if block else "output_text",
        "inline": media.get("response_format") == "b64_json",
        "metadata": asked.get("metadata", {}),
        "instructions": asked.get("instructions") if isinstance(asked.get("instructions"), str) else None,
        "background": background,
        "store": asked.get("store", True),
        "attended": not (background or keyed or asked.get("store", False)),
    }
