"""A response and its parts: `/v1/responses`."""

from __future__ import annotations

from marshmallow import fields

from router.values import Status
from router.web.http.fields import described
from router.web.openapi.common import Failure, Page, Unfinished, UsedBlocks
from router.web.openapi.output import FunctionCall, Message
from router.web.openapi.shapes import Answer, integer, mapping, number, part, several, string, strings, truth, word

STATUSES = [status.value for status in Status]
REPEATED = "as it was sent"


class Incomplete(Answer):
    reason = word("why there is no video", "cancelled", "deleted")


class Tool(Answer):
    """A function that was offered, with all its keys."""

    type = word("its kind", "function")
    name = string("the function's name")
    description = string("what it does", none=True)
    parameters = mapping("the JSON Schema of its arguments", none=True)
    strict = truth("whether they must fit it", none=True)


class UsedFormat(Answer):
    type = word("the kind of format", "text", "json_object", "json_schema")
    name = string("the schema's name", sometimes=True)
    description = string("what the schema is for", none=True, sometimes=True)
    schema = mapping("a JSON Schema", none=True, sometimes=True)
    strict = truth("whether the text must fit it", sometimes=True)


class UsedText(Answer):
    format = part(UsedFormat, "`text`, unless another was sent")
    verbosity = string(REPEATED, sometimes=True)


class UsedReasoning(Answer):
    effort = string(REPEATED, none=True)
    summary = string(REPEATED, none=True)


class Response(Unfinished):
    """A response: the 31 keys of Open Responses, and what was used and adjusted."""

    id = string("`resp_` and the job's id", pattern="^resp_[0-9a-f]{32}$")
    object = word("its kind", "response")
    created_at = integer("seconds since 1970")
    completed_at = integer("seconds since 1970", none=True)
    status = word("where it is", *STATUSES)
    incomplete_details = part(Incomplete, "for a response that was cancelled or deleted", none=True)
    model = string("the model that runs, whatever route was asked for")
    output = several("what was made; empty until then", Message, FunctionCall)
    error = part(Failure, "why it failed", none=True)
    provider_options = part(UsedBlocks, "what was used; not for the call of a function", sometimes=True)
    warnings = strings("what was adjusted, and what was not used", sometimes=True)
    previous_response_id = string(REPEATED, none=True)
    instructions = string(REPEATED, none=True)
    tools = fields.List(fields.Nested(Tool), metadata=described("the functions that were offered"))
    tool_choice = fields.Raw(
        metadata=described(REPEATED, anyOf=[{"enum": ["none", "auto", "required"]}, {"type": "object"}])
    )
    truncation = word(REPEATED, "auto", "disabled")
    parallel_tool_calls = truth(REPEATED)
    text = part(UsedText, REPEATED)
    top_p = number(REPEATED)
    presence_penalty = number(REPEATED)
    frequency_penalty = number(REPEATED)
    top_logprobs = integer(REPEATED)
    temperature = number(REPEATED)
    reasoning = part(UsedReasoning, REPEATED, none=True)
    usage = fields.Raw(metadata=described("null: a video is not counted in tokens", type="null"))
    max_output_tokens = integer(REPEATED, none=True)
    max_tool_calls = integer(REPEATED, none=True)
    store = truth("as it was sent; the call of a function is kept nowhere")
    background = truth(REPEATED)
    service_tier = string(REPEATED)
    metadata = fields.Dict(values=fields.String(), metadata=described(REPEATED))
    safety_identifier = string(REPEATED, none=True)
    prompt_cache_key = string(REPEATED, none=True)


class StoredText(Answer):
    type = word("its kind", "input_text")
    text = string("the user's part of the prompt, or a text of the system")


class StoredImage(Answer):
    type = word("its kind", "input_image")
    image_url = string("a `data:` URL of the PNG that was made of it, where `include` asks for it", none=True)
    detail = word("without meaning here", "auto")
    role = string("`image` or `last_image`")
    media_type = string("what was received")
    bytes = integer("the size of that")
    sha256 = string("the digest of that")


class StoredMessage(Answer):
    """What a response was made from."""

    type = word("its kind", "message")
    id = string("`msg_in_` and the job's id; `msg_sys_` and that for the system's")
    status = word("where it is", "completed")
    role = word("whose it is", "user", "system")
    content = several("images, then the text", StoredImage, StoredText)


class InputItems(Page):
    data = several("the items", StoredMessage)


class DeletedResponse(Answer):
    id = string("what was deleted")
    object = word("its kind", "response")
    deleted = truth("true")
