"""The output of a response: a message with a file, or a function call."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from marshmallow import fields

from router.values import Artifact
from router.web.answer_fields import Answer, constant, enum, integer, one_of, string, when
from router.web.http.fields import described


@dataclass(frozen=True)
class Output:
    """A finished file in a part: its URL, or its `data` in base64."""

    artifact: Artifact
    url: str
    data: str | None = None

    @property
    def kind(self) -> str:
        return self.artifact.media_type.partition("/")[0]


def _url(kind: str) -> fields.String:
    return string(
        "where the file is",
        when(lambda output: output.kind == kind and output.data is None, attrgetter("url")),
        sometimes=True,
    )


def _data() -> fields.String:
    about = "the file in base64, where that was asked for"
    return string(about, when(lambda output: output.data is not None, attrgetter("data")), sometimes=True)


def empty_list() -> fields.List[Any]:
    return fields.List(fields.Raw(), metadata=described("none", read=lambda _: []))


class FilePart(Answer.Meta):
    """The fields of every finished video and image, after those of its own schema."""

    include = {  # noqa: RUF012 - marshmallow only reads it
        "format": string("`mp4` or `png`", lambda output: output.artifact.media_type.partition("/")[2]),
        "frames_per_second": integer(
            "the rate at which the video plays", lambda output: output.artifact.frames_per_second
        ),
        "num_frames": integer("1 for an image", attrgetter("artifact.num_frames")),
        "width": integer("pixels", attrgetter("artifact.width")),
        "height": integer("pixels", attrgetter("artifact.height")),
    }


class OutputVideo(Answer):
    """A video, where `provider_options.video` was sent."""

    Meta = FilePart

    type = constant("its kind", "output_video")
    video_url = _url("video")
    video_data = _data()


class OutputImage(Answer):
    """One frame, where `provider_options.image` was sent or one frame was asked for."""

    Meta = FilePart

    type = constant("its kind", "output_image")
    image_url = _url("image")
    image_data = _data()


class OutputText(Answer):
    """A video or image for text clients: those without media options."""

    Meta = FilePart

    type = constant("its kind", "output_text")
    text = string("where the file is", attrgetter("url"))
    annotations = empty_list()
    logprobs = empty_list()
    video_url = _url("video")
    image_url = _url("image")


class Message(Answer):
    """The message with the output."""

    type = constant("its kind", "message")
    id = string("`msg_` and the job's id", pattern="^msg_[0-9a-f]{32}$")
    status = enum("where it is", "in_progress", "completed")
    role = constant("whose it is", "assistant")
    content = one_of("the one part", OutputVideo, OutputImage, OutputText)


class FunctionCall(Answer):
    """The call of a function that the caller offered."""

    type = constant("its kind", "function_call")
    id = string("`fc_` and an id")
    call_id = string("`call_` and an id: what the function's output refers to")
    name = string("the function's name")
    arguments = string("a JSON object, as text")
    status = enum("where it is", "in_progress", "completed")
