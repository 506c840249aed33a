"""The answers of `/v1/responses`, and the events of their streams."""

from __future__ import annotations

from operator import attrgetter

from marshmallow import fields

from router.values import Status
from router.web.answer_fields import Answer, Either, boolean, constant, enum, integer, nested, one_of, string, strings
from router.web.answers import UNFINISHED, Failure, Page, UsedBlocks, completion_second
from router.web.http.fields import described
from router.web.responses.output_answers import FunctionCall, Message, OutputImage, OutputText, OutputVideo, empty_list
from router.web.responses.schema import ANSWER_FIELDS

STATUSES = [status.value for status in Status]


class Incomplete(Answer):
    reason = enum("why there is no video", "cancelled", "deleted")


class Response(Answer):
    """A response: the 31 keys of Open Responses, and what was used and adjusted."""

    class Meta(Answer.Meta):
        include = {  # noqa: RUF012 - marshmallow only reads it
            **ANSWER_FIELDS,
            "provider_options": nested(
                UsedBlocks, "what was used; not for the call of a function", lambda job: job, sometimes=True
            ),
            "warnings": strings("what was adjusted, and what was not used", sometimes=True),
            **UNFINISHED,
        }

    id = string("`resp_` and the job's id", lambda job: f"resp_{job.id}", pattern="^resp_[0-9a-f]{32}$")
    object = constant("its kind", "response")
    created_at = integer("seconds since 1970", lambda job: int(job.created_at))
    completed_at = integer("seconds since 1970", completion_second, none=True)
    status = enum("where it is", *STATUSES)
    incomplete_details = nested(
        Incomplete,
        "for a response that was cancelled or deleted",
        lambda job: {"reason": "cancelled"} if job.status is Status.CANCELLED else None,
        none=True,
    )
    model = string("the model that runs, whatever route was asked for")
    output = one_of("what was made; empty until then", Message, FunctionCall, read=lambda _: [])
    error = nested(Failure, "why it failed", attrgetter("failure"), none=True)


class StoredText(Answer):
    type = constant("its kind", "input_text")
    text = string("the user's part of the prompt, or a text of the system")


class StoredImage(Answer):
    type = constant("its kind", "input_image")
    image_url = string(
        "a `data:` URL of the PNG that was made of it, where `include` asks for it", lambda _: None, none=True
    )
    detail = constant("without meaning here", "auto")
    role = string("`image` or `last_image`")
    media_type = string("what was received")
    bytes = integer("the size of that", attrgetter("size"))
    sha256 = string("the digest of that")


class StoredMessage(Answer):
    """What a response was made from."""

    type = constant("its kind", "message")
    id = string("`msg_in_` and the job's id; `msg_sys_` and that for the system's")
    status = constant("where it is", "completed")
    role = enum("whose it is", "user", "system")
    content = one_of("images, then the text", StoredImage, StoredText)


class InputItems(Page):
    data = one_of("the items", StoredMessage)


class DeletedResponse(Answer):
    id = string("what was deleted")
    object = constant("its kind", "response")
    deleted = boolean("true", lambda _: True)


class EmptyText(Answer):
    """The part of a stream before its text has come."""

    type = constant("its kind", "output_text")
    text = string("empty", lambda _: "")
    annotations = empty_list()
    logprobs = empty_list()


class Event(Answer):
    """One event of a stream: its `data:` line.

    `event:` repeats the type. After the last one comes `data: [DONE]`.
    """

    type = string("such as `response.in_progress`", pattern="^response[.]")
    sequence_number = integer("grows, with gaps: what `starting_after` refers to")
    response = Either("the response as it is now", Response, sometimes=True)
    item_id = string("the item that the event is about", sometimes=True)
    output_index = integer("0", sometimes=True)
    content_index = integer("0", sometimes=True)
    item = Either("the item", Message, FunctionCall, sometimes=True)
    part = Either("the part", OutputVideo, OutputImage, OutputText, EmptyText, sometimes=True)
    delta = string("what is added to the text or the arguments", sometimes=True)
    text = string("the whole text", sometimes=True)
    name = string("the function's name", sometimes=True)
    arguments = string("the whole arguments", sometimes=True)
    logprobs = fields.List(fields.Raw(), metadata=described("none", sometimes=True))
