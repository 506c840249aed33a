"""The events of a stream."""

from __future__ import annotations

from marshmallow import fields

from router.web.http.fields import described
from router.web.openapi.output import FunctionCall, Message, OutputImage, OutputText, OutputVideo
from router.web.openapi.response import Response
from router.web.openapi.shapes import Answer, Either, integer, part, string, word


class EmptyText(Answer):
    """The part of a stream before its text has come."""

    type = word("its kind", "output_text")
    text = string("empty")
    annotations = fields.List(fields.Raw(), metadata=described("none"))
    logprobs = fields.List(fields.Raw(), metadata=described("none"))


class Event(Answer):
    """One event of a stream: its `data:` line; `event:` repeats the type. After the last one comes `data: [DONE]`."""

    type = string("such as `response.in_progress`", pattern="^response[.]")
    sequence_number = integer("grows, with gaps: what `starting_after` refers to")
    response = part(Response, "the response as it is now", sometimes=True)
    output_index = integer("0", sometimes=True)
    content_index = integer("0", sometimes=True)
    item_id = string("the item that the event is about", sometimes=True)
    item = Either("the item", Message, FunctionCall, sometimes=True)
    part = Either("the part", OutputVideo, OutputImage, OutputText, EmptyText, sometimes=True)
    delta = string("what is added to the text or the arguments", sometimes=True)
    text = string("the whole text", sometimes=True)
    logprobs = fields.List(fields.Raw(), metadata=described("none", sometimes=True))
    name = string("the function's name", sometimes=True)
    arguments = string("the whole arguments", sometimes=True)
