"""The answers of `/v1/responses`."""

from functools import partial
from operator import attrgetter
from typing import Any

from marshmallow import fields

from router.values import Status
from router.web.answer_fields import Answer, boolean, constant, enum, integer, nested, one_of, string, strings
from router.web.answers import UNFINISHED, Failure, Page, UsedBlocks, completion_second, numerics_field
from router.web.http.fields import described
from router.web.responses.schema import ANSWER_FIELDS

url = partial(string, "where the file is", sometimes=True)
data = partial(string, "the file in base64, where that was asked for", sometimes=True)


def empty_list(**more: Any) -> fields.List[Any]:
    return fields.List(fields.Raw(), metadata=described("none", read=lambda _: [], **more))


class FilePart(Answer.Meta):
    """The fields of every finished video and image, after those of its own schema."""

    include = {  # noqa: RUF012 - marshmallow only reads it
        "format": string("`mp4`, or of an image `png`, `jpeg` or `webp`"),
        "frames_per_second": integer("the rate at which the video plays"),
        "num_frames": integer("1 for an image"),
        "width": integer("pixels"),
        "height": integer("pixels"),
    }


class OutputVideo(Answer):
    """A video, where `provider_options.video` was sent."""

    Meta = FilePart

    type = constant("its kind", "output_video")
    video_url = url()
    video_data = data()


class OutputImage(Answer):
    """One frame, where `provider_options.image` was sent or one frame was asked for."""

    Meta = FilePart

    type = constant("its kind", "output_image")
    image_url = url()
    image_data = data()


class OutputText(Answer):
    """A video or image for text clients: those without media options."""

    Meta = FilePart

    type = constant("its kind", "output_text")
    text = string("where the file is")
    annotations = empty_list()
    logprobs = empty_list()
    video_url = url()
    image_url = url()


class Message(Answer):
    """The message with the output."""

    type = constant("its kind", "message")
    id = string("`msg_` and the job's id", pattern="^msg_[0-9a-f]{32}$")
    status = enum("where it is", "in_progress", "completed")
    role = constant("whose it is", "assistant")
    content = one_of("one part; more for several images, and for `text_output`", OutputVideo, OutputImage, OutputText)


class FunctionCall(Answer):
    """The call of a function that the caller offered."""

    type = constant("its kind", "function_call")
    id = string("`fc_` and an id")
    call_id = string("`call_` and an id: what the function's output refers to")
    name = string("the function's name")
    arguments = string("a JSON object, as text")
    status = enum("where it is", "in_progress", "completed")


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
            "numerics": numerics_field(sometimes=True),
            "warnings": strings("what was adjusted or not used, and what a queued job waits for", sometimes=True),
            **UNFINISHED,
        }

    id = string("`resp_` and the job's id", lambda job: f"resp_{job.id}", pattern="^resp_[0-9a-f]{32}$")
    object = constant("its kind", "response")
    created_at = integer("seconds since 1970", lambda job: int(job.created_at))
    completed_at = integer("seconds since 1970", completion_second, none=True)
    status = enum("where it is", *Status)
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
