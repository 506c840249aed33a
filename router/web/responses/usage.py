"""The work of a finished job, with the keys of text models."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from router.values import Job
from router.web.answer_fields import Answer, integer, nested, number
from router.web.answers import seconds_taken

zero = partial(integer, read=lambda _: 0)


class CachedTokens(Answer):
    cached_tokens = zero("0: no text is cached")


class ReasoningTokens(Answer):
    reasoning_tokens = zero("0: no text is made")


class ImageDetails(Answer):
    """What MAX's clients read of an image."""

    width = integer("pixels")
    height = integer("pixels")
    megapixels = number("of all images")
    steps = integer("denoising steps of each image")
    image_count = integer("how many images")


class Usage(Answer):
    """The work of a finished job; tokens are 0, for clients of text models."""

    input_tokens = zero("0")
    input_tokens_details = nested(CachedTokens, "of those", lambda _: {})
    output_tokens = zero("0")
    output_tokens_details = nested(ReasoningTokens, "of those", lambda _: {})
    total_tokens = zero("0")
    gpu_seconds = number("from the start of the work to its end, a load of the model included")
    steps = integer("denoising steps of each video or image")
    frames = integer("frames that were made")
    pixels = integer("pixels of each frame")
    image_generation_details = nested(ImageDetails, "for an image", sometimes=True)


def used_alone(job: Job) -> dict[str, Any] | None:
    """Return the usage of a job, None without a file."""
    return used([job]) if job.artifact else None


def used(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return the usage of jobs with files that differ in their seed alone."""
    made, steps, count = jobs[0].artifact, jobs[0].task.steps, len(jobs)
    assert made is not None, jobs[0].id
    pixels, seconds = made.width * made.height, round(sum(map(seconds_taken, jobs)), 3)
    usage = {"gpu_seconds": seconds, "steps": steps, "frames": count * made.num_frames, "pixels": pixels}
    if made.num_frames > 1:
        return usage
    details = {"megapixels": round(count * pixels / 1e6, 6), "steps": steps, "image_count": count}
    return {**usage, "image_generation_details": {"width": made.width, "height": made.height, **details}}
