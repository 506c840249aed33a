"""Parse the body of `POST /v1/responses`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry import Input
from router.errors import InvalidRequest, LimitExceeded, ModalityMismatch
from router.request import ImageInput, Request
from router.values import OutputPart, Presentation
from router.web.http import unused_fields
from router.web.responses.input import ParsedInput, is_of_user, is_text, read_input
from router.web.responses.schema import AS_IS, COMPLETED, CreateResponse
from router.web.responses.tools import Call, find_call, read_choice, read_tools
from router.web.schemas import check, check_model, one_frame, read_image, read_options

QUOTED = ("tools", "text", "metadata")  # may speak of images by name
WHERE = "an image goes into input, as an input_image part of the last user message"
OF_MESSAGES = {"type", "role", "content", "id", "status", "name", "phase"}
OF_TEXTS = {"type", "text", "annotations", "logprobs", "cache_control"}
OF_IMAGES = {"type", "image_url", "detail", "cache_control"}
TAKEN = ("secondary_prompt", "secondary_negative_prompt", "strength")  # of an image, for the sake of MAX's clients
SCHEMA = CreateResponse()
PRIORITY_OFFSETS = {"priority": 1, "flex": -1}  # how far from all others
MOST_BYTES = 256 * 2**10  # of tools and formats: they are in the job's row, and in each snapshot of a stream
DEEPEST = 100  # levels of the same


@dataclass(frozen=True)
class ParsedRequest:
    """A parsed body: the request, the way to answer, and a function call instead."""

    request: Request
    stream: bool
    call: Call | None


def read_response_request(body: Mapping[str, Any], *, keyed: bool = False) -> ParsedRequest:
    """Parse a body; raise `InvalidRequest` with the name of the wrong field.

    `keyed` says that the caller may come again with the same idempotency key.
    """
    check_model(body.get("model"))
    sent = check(SCHEMA, body)
    parsed = read_input(sent.get("input"), sent.get("instructions"))
    block, media = _media(sent.get("provider_options", {}))
    pictures = parsed.pictures + _last_image(block, media, parsed.pictures)
    tools = read_tools(sent.get("tools", ()))
    choice = read_choice(sent.get("tool_choice"), tools)
    request = Request(
        model=sent.get("model"),
        prompt=parsed.prompt,
        pictures=pictures,
        options=one_frame(read_options(media)) if block == "image" else read_options(media),
        adapters=media.get("adapters"),
        seed=_seed(sent, block, media),
        priority_offset=PRIORITY_OFFSETS.get(sent.get("service_tier", ""), 0),
        params=f"provider_options.{block or 'video'}",
        presentation=_presentation(sent, parsed, block, _echo(sent, tools, choice), keyed),
        warnings=_warnings(body, parsed, pictures),
        count=_count(sent, block, media),
    )
    # the output of a function, after the last message
    answered = isinstance(body["input"], list) and body["input"][-1].get("type") == "function_call_output"
    call = find_call(tools, choice, parsed.prompt, wants_media=bool(block), answered=answered)
    return ParsedRequest(request, sent.get("stream", False), call)


def _count(sent: Mapping[str, Any], block: str, media: Mapping[str, Any]) -> int:
    """Return the number of images; several come together, at the end of a wait."""
    count: int = media.get("num_images", 1)
    if count > 1 and (way := next((way for way in ("background", "stream") if sent.get(way)), None)):
        param = f"provider_options.{block}.num_images"
        raise InvalidRequest(f"{param} must be 1 with {way}, got {count}: send as many requests", param=param)
    return count


def _last_image(block: str, media: Mapping[str, Any], pictures: tuple[ImageInput, ...]) -> tuple[ImageInput, ...]:
    """Return the last frame of the options; refuse a second last frame."""
    if "last_image" not in media:
        return ()
    param = f"provider_options.{block}.last_image"
    if any(one.role is Input.LAST_IMAGE for one in pictures):
        message = f"input has two images, the second is the last frame: {param} is one too many"
        raise ModalityMismatch(message, param="input")
    return (read_image(media["last_image"], Input.LAST_IMAGE, param),)


def _media(provider_options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the options of the one block; '' without one."""
    blocks = [block for block in unused_fields.BLOCKS if block in provider_options]
    if len(blocks) > 1:
        message = "provider_options has a video and an image block: give one of them"
        raise InvalidRequest(message, param="provider_options.image")
    return (blocks[0], provider_options[blocks[0]]) if blocks else ("", {})


def _seed(sent: Mapping[str, Any], block: str, media: Mapping[str, Any]) -> int | None:
    seed, other = sent.get("seed"), media.get("seed")
    if seed is not None and other is not None and seed != other:
        param = f"provider_options.{block}.seed"
        raise InvalidRequest(f"seed is {seed}, but {param} is {other}: give one of them", param=param)
    return other if seed is None else seed


def _warnings(body: Mapping[str, Any], parsed: ParsedInput, pictures: tuple[ImageInput, ...]) -> tuple[str, ...]:
    """Return the warnings about unused keys; refuse unused images."""
    search = unused_fields.Search(pictures, WHERE)
    search.refuse_in({**body, "input": None}, QUOTED)
    names = unused_fields.names(body, SCHEMA)
    if not isinstance(body.get("instructions"), str | None):
        names.append("instructions")
    names += _unread(body["input"], parsed.index)
    image = (body.get("provider_options") or {}).get("image") or {}
    names += [f"provider_options.image.{name}" for name in TAKEN if image.get(name) is not None]
    return unused_fields.warning(names) + _history(body["input"], parsed, search)


def _unread(items: Any, index: int | None) -> list[str]:
    """Return the unknown keys of the last user message and of its parts."""
    if index is None:
        return []
    message, where = items[index], f"input[{index}]"
    found = [f"{where}.{key}" for key, value in message.items() if value and key not in OF_MESSAGES]
    content = message.get("content")
    for number, part in enumerate(content if isinstance(content, list) else ()):
        known = OF_TEXTS if is_text(part, where) else OF_IMAGES
        found += [f"{where}.content[{number}].{key}" for key, value in part.items() if value and key not in known]
    return found


def _history(items: Any, parsed: ParsedInput, search: unused_fields.Search) -> tuple[str, ...]:
    """Return the warning about images in earlier messages, if there are any.

    An image of the user is refused where the request has none: the answer would be a video of the text alone.
    """
    if isinstance(items, str):
        search.refuse(items, "input")
        return ()
    unused = []
    for index, item in enumerate(items):
        where = f"input[{index}]"
        if index == parsed.index or item.get("role") in ("system", "developer"):
            search.refuse(item, where)
        elif next(search.find(item, where), None) is not None:
            later = parsed.index is not None and index > parsed.index  # such as what a tool has just made
            if (later or is_of_user(item)) and not parsed.pictures:
                raise unused_fields.unused(where, "send it in the last user message, which is the request")
            unused.append(where)
    return (f"images and videos of earlier messages are not used: {unused_fields.listed(unused)}",) if unused else ()


def _presentation(
    sent: Mapping[str, Any], parsed: ParsedInput, block: str, echoed: Mapping[str, Any], keyed: bool
) -> Presentation:
    """Return the presentation; clients without media options get an `output_text` part.

    A job is `attended`, and cancelled when its caller leaves, unless the caller may come back for it:
    with `background`, with an idempotency key, or with a `store` that is true. A `store` that was left out
    counts as true in the answer only, as every SDK leaves it out.
    """
    background, options = sent.get("background", False), sent.get("provider_options", {}).get(block, {})
    return Presentation(
        part=OutputPart(f"output_{block or 'text'}"),
        inline=options.get("response_format", _usual_format(block, sent)) == "b64_json",
        attended=not (background or keyed or sent.get("store", False)),
        background=background,
        store=sent.get("store", True),
        instructions=parsed.instructions,
        system=parsed.system,
        prompt=parsed.own if parsed.own != parsed.prompt else None,
        text_output=sent.get("text_output", False),
        file_format=options.get("output_format", ""),
        metadata=sent.get("metadata", {}),
        echoed=echoed,
    )


def _usual_format(block: str, sent: Mapping[str, Any]) -> str:
    """Return the `response_format` of a block without one."""
    # MAX's, but no image in each event of a stream
    return "b64_json" if block == "image" and not sent.get("stream") else "url"


def _echo(sent: Mapping[str, Any], tools: Sequence[Mapping[str, Any]], choice: Any) -> dict[str, Any]:
    """Return the keys that were sent, each complete by the answer's schema.

    `sent` was checked. Raises `LimitExceeded` for values too large for a job.
    """
    echoed = {name: sent[name] for name in AS_IS if name in sent}
    if tools:
        echoed["tools"] = list(tools)
    if choice != "auto":
        echoed["tool_choice"] = choice
    echoed |= {name: schema.dump(sent[name]) for name, schema in COMPLETED.items() if name in sent}
    for param, value in echoed.items():
        if _deeper(value, DEEPEST):
            raise InvalidRequest(f"{param} may nest {DEEPEST} levels deep, got more", param=param)
        if (got := len(json.dumps(value))) > MOST_BYTES:
            raise LimitExceeded(f"{param} may take {MOST_BYTES:,} bytes as JSON, got {got:,}", param=param)
    return echoed


def _deeper(value: Any, levels: int) -> bool:
    if levels == 0:
        return True
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(_deeper(entry, levels - 1) for entry in inside)
