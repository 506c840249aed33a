"""A body of `POST /v1/responses` as a `Request`, and what its answer must look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from registry import Input
from router.errors import InvalidRequest, ModalityMismatch
from router.request import ImageInput, Options, Request
from router.values import OutputPart, Presentation
from router.web.http import unused_fields
from router.web.responses.echo import echo
from router.web.responses.input import Said, is_of_user, picture, read_input
from router.web.responses.schema import CreateResponse
from router.web.responses.tools import Call, find_call, is_answered, read_choice, read_tools
from router.web.schemas import check

MEDIA = ("video", "image")
ECHOED = ("tools", "text", "metadata")  # may speak of images by name
WHERE = "an image goes into input, as an input_image part of the last user message"
OF_MESSAGES = {"type", "role", "content", "id", "status", "name", "phase"}
OF_PARTS = {"type", "text", "image_url", "detail", "annotations", "logprobs", "cache_control", "file_id"}
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
    pictures = said.pictures + _last_image(block, media, said.pictures)
    tools = read_tools(asked.get("tools", ()))
    choice = read_choice(asked.get("tool_choice"), tools)
    request = Request(
        model=asked.get("model"),
        prompt=said.prompt,
        pictures=pictures,
        options=_options(block, media),
        seed=_seed(asked, block, media),
        tier=TIERS.get(asked.get("service_tier", ""), 0),
        params=f"provider_options.{block or 'video'}",
        presentation=_presentation(asked, said, block, echo(asked, tools, choice), keyed),
        warnings=_warnings(body, said, pictures),
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


def _last_image(block: str, media: Mapping[str, Any], given: tuple[ImageInput, ...]) -> tuple[ImageInput, ...]:
    """Return the image of the options, as the last frame; refuse a second last frame rather than drop one."""
    if "last_image" not in media:
        return ()
    param = f"provider_options.{block}.last_image"
    if any(one.role is Input.LAST_IMAGE for one in given):
        message = f"input has two images, the second is the last frame: {param} is one too many"
        raise ModalityMismatch(message, param="input")
    return (picture(media["last_image"], Input.LAST_IMAGE, param),)


def _media(provider_options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the one block that there may be; '' and nothing where there is none."""
    blocks = [block for block in MEDIA if block in provider_options]
    if len(blocks) > 1:
        message = "provider_options has a video and an image block: give one of them"
        raise InvalidRequest(message, param="provider_options.image")
    return (blocks[0], provider_options[blocks[0]]) if blocks else ("", {})


def _seed(asked: Mapping[str, Any], block: str, media: Mapping[str, Any]) -> int | None:
    seed, other = asked.get("seed"), media.get("seed")
    if seed is not None and other is not None and seed != other:
        param = f"provider_options.{block}.seed"
        raise InvalidRequest(f"seed is {seed}, but {param} is {other}: give one of them", param=param)
    return other if seed is None else seed


def _warnings(body: Mapping[str, Any], said: Said, pictures: tuple[ImageInput, ...]) -> tuple[str, ...]:
    """Return the warnings about what is not used; refuse an image that is not."""
    search = unused_fields.Search(pictures)
    unused_fields.refuse(
        search.find({name: value for name, value in body.items() if name not in ("input", *ECHOED)}), WHERE
    )
    unused_fields.refuse(search.find({name: body.get(name) for name in ECHOED}, by_name=False), WHERE)
    names = unused_fields.names(body, SCHEMA)
    if not isinstance(body.get("instructions"), str | None):
        names.append("instructions")
    names += _unread(body["input"], said.index)
    return unused_fields.warning(names) + _history(body["input"], said, search)


def _unread(items: Any, index: int | None) -> list[str]:
    """Return the keys without a meaning of the message that is the request, and of its parts."""
    if index is None:
        return []
    message, where = items[index], f"input[{index}]"
    found = [f"{where}.{key}" for key, value in message.items() if value and key not in OF_MESSAGES]
    content = message.get("content")
    for number, part in enumerate(content if isinstance(content, list) else ()):
        found += [f"{where}.content[{number}].{key}" for key, value in part.items() if value and key not in OF_PARTS]
    return found


def _history(items: Any, said: Said, search: unused_fields.Search) -> tuple[str, ...]:
    """Return the warning about images in messages that are not the request, if there are any.

    An image of the user is refused where the request has none: the answer would be a video of the text alone.
    """
    if isinstance(items, str):
        unused_fields.refuse(search.find(items, "input"), WHERE)
        return ()
    unused = []
    for index, item in enumerate(items):
        found = search.find(item, f"input[{index}]")
        if index == said.index or item.get("role") in ("system", "developer"):
            unused_fields.refuse(found, WHERE)
        elif next(found, None) is not None:
            later = said.index is not None and index > said.index  # such as what a tool has just made
            if (later or is_of_user(item)) and not said.pictures:
                unused_fields.refuse(
                    iter([f"input[{index}]"]), "send it in the last user message, which is the request"
                )
            unused.append(f"input[{index}]")
    if not unused:
        return ()
    return (f"images and videos of earlier messages are not used: {unused_fields.listed(unused)}",)


def _presentation(
    asked: Mapping[str, Any], said: Said, block: str, echoed: Mapping[str, Any], keyed: bool
) -> Presentation:
    """Return what the answer depends on: text clients, which send no media options, need an `output_text` part.

    A job is `attended`, and cancelled when its caller leaves, unless they said that they may come back for it:
    with `background`, with an idempotency key, or with a `store` that is true. A `store` that was left out
    counts as true in the answer only, as every SDK leaves it out.
    """
    background, options = asked.get("background", False), asked.get("provider_options", {}).get(block, {})
    return Presentation(
        part=OutputPart(f"output_{block or 'text'}"),
        inline=options.get("response_format") == "b64_json",
        attended=not (background or keyed or asked.get("store", False)),
        background=background,
        store=asked.get("store", True),
        instructions=said.instructions,
        system=said.system,
        prompt=said.own if said.own != said.prompt else None,
        metadata=asked.get("metadata", {}),
        echoed=echoed,
    )
