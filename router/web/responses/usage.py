"""The work of finished jobs, with the keys of text models."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from router.values import Job
from router.web.answer_fields import Answer, integer, nested, number
from router.web.job_usage import JobUsage, shown

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
    """The work of finished jobs; tokens are 0, for clients of text models.

    That of a cancelled job may come a moment later.
    """

    class Meta(Answer.Meta):
        include = {  # noqa: RUF012 - marshmallow only reads it
            **JobUsage._declared_fields,
            "image_generation_details": nested(ImageDetails, "for an image", sometimes=True),
        }

    input_tokens = zero("0")
    input_tokens_details = nested(CachedTokens, "of those", lambda _: {})
    output_tokens = zero("0")
    output_tokens_details = nested(ReasoningTokens, "of those", lambda _: {})
    total_tokens = zero("0")


def used_alone(job: Job) -> dict[str, Any] | None:
    """Return the usage of a job, None while it is unknown."""
    return used([job])


def used(jobs: Sequence[Job]) -> dict[str, Any] | None:
    """Return the usage of jobs of one request; None while it is unknown."""
    usage, made = shown(jobs), [job for job in jobs if job.artifact is not None]
    if usage is None or not made:
        return usage
    first = made[0].artifact
    assert first is not None, jobs[0].id
    if first.num_frames > 1:
        return usage
    megapixels = round(len(made) * first.width * first.height / 1e6, 6)
    details = {"megapixels": megapixels, "steps": made[0].task.steps, "image_count": len(made)}
    return {**usage, "image_generation_details": {"width": first.width, "height": first.height, **details}}
