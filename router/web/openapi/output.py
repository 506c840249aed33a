"""What a response puts out: a message with a video or an image, or the call of a function."""

from __future__ import annotations

from marshmallow import fields

from router.web.http.fields import described
from router.web.openapi.shapes import Answer, integer, several, string, word


class Picture(Answer):
    """What every finished video and image says of itself."""

    format = string("`mp4` or `png`")
    frames_per_second = integer("the rate at which the video plays")
    num_frames = integer("1 for an image")
    width = integer("pixels")
    height = integer("pixels")


class OutputVideo(Picture):
    """A video, where `provider_options.video` was sent."""

    type = word("its kind", "output_video")
    video_url = string("where the file is", sometimes=True)
    video_data = string("the file in base64, where that was asked for", sometimes=True)


class OutputImage(Picture):
    """One frame, where `provider_options.image` was sent or one frame was asked for."""

    type = word("its kind", "output_image")
    image_url = string("where the file is", sometimes=True)
    image_data = string("the file in base64, where that was asked for", sometimes=True)


class OutputText(Picture):
    """A video or image for clients that know text only, where no media options were sent."""

    type = word("its kind", "output_text")
    text = string("where the file is")
    annotations = fields.List(fields.Raw(), metadata=described("none"))
    logprobs = fields.List(fields.Raw(), metadata=described("none"))
    video_url = string("where the file is", sometimes=True)
    image_url = string("where the file is", sometimes=True)


class Message(Answer):
    """The message that holds what was made."""

    type = word("its kind", "message")
    id = string("`msg_` and the job's id", pattern="^msg_[0-9a-f]{32}$")
    status = word("where it is", "in_progress", "completed")
    role = word("whose it is", "assistant")
    content = several("the one part", OutputVideo, OutputImage, OutputText)


class FunctionCall(Answer):
    """The call of a function that the caller offered."""

    type = word("its kind", "function_call")
    id = string("`fc_` and an id")
    call_id = string("`call_` and an id: what the function's output refers to")
    name = string("the function's name")
    arguments = string("a JSON object, as text")
    status = word("where it is", "in_progress", "completed")
