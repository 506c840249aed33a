"""Shapes that responses and videos share: errors, lists, and what was used."""

from __future__ import annotations

from router.values import Phase
from router.web.openapi.shapes import Answer, integer, number, part, string, truth, word

PHASES = [phase.value for phase in Phase]


class Error(Answer):
    """Why a request was refused; each key is text, empty where there is nothing to say."""

    message = string("what is, what was needed, what was got")
    type = string("the kind of error, as the SDKs know it", examples=["invalid_request_error"])
    param = string("the field that is wrong", examples=["provider_options.video.num_frames"])
    code = string("the error in one word, for programs", examples=["limit_exceeded"])


class ErrorAnswer(Answer):
    """The body of every error, whatever its status."""

    error = part(Error, "the error")


class Failure(Answer):
    """Why a job failed."""

    code = string("in one word, such as `out_of_memory`")
    message = string("in a sentence")


class UsedOptions(Answer):
    """The options that were used: sending them back gives the same video."""

    seed = integer("the seed, drawn by the server where none was sent")
    width = integer("pixels")
    height = integer("pixels")
    num_frames = integer("4k+1")
    frames_per_second = integer("the rate at which the video plays")
    steps = integer("denoising steps")
    guidance_scale = number("how closely the prompt is followed")
    guidance_scale_2 = number("the same for a second expert, null where there is none", none=True)
    flow_shift = number("the scheduler's shift")
    negative_prompt = string("what is kept out of the picture")
    response_format = word("how the file comes", "url", "b64_json")


class UsedBlocks(Answer):
    video = part(UsedOptions, "what was used, for an image too")


class Unfinished(Answer):
    """What a job has while it is unfinished, beside its other keys."""

    progress = integer("percent", maximum=100, sometimes=True)
    phase = word("where a running job is", *PHASES, none=True, sometimes=True)
    steps_done = integer("denoising steps so far", none=True, sometimes=True)
    queue_position = integer("1 is the next job to run; null once it runs", minimum=1, none=True, sometimes=True)
    remaining_seconds = number("until it is done, by the measured pace; null if unknown", none=True, sometimes=True)


class Page(Answer):
    """A part of a list: `last_id` is the `after` of the next."""

    object = word("its kind", "list")
    first_id = string("the first entry's id", none=True)
    last_id = string("the last entry's id", none=True)
    has_more = truth("whether more entries follow")
