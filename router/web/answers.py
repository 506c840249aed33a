"""Answers that responses and videos share: errors, lists, used options, progress."""

from functools import partial
from typing import Any

from marshmallow import fields

from router.values import Job, Phase, Status
from router.web.answer_fields import Answer, boolean, constant, enum, integer, nested, number, string, strings, when
from router.web.http.fields import described
from router.web.model_answers import ModelDefaults, strength_field


class Error(Answer):
    """The reason of a refusal; each key is text, empty where it says nothing."""

    message = string("what is, what was needed, what was got")
    type = string("the kind of error, as the SDKs know it", examples=["invalid_request_error"])
    param = string("the field that is wrong", examples=["provider_options.video.num_frames"])
    code = string("the error in one word, for programs", examples=["limit_exceeded"])


class ErrorAnswer(Answer):
    """The body of every error, whatever its status."""

    error = nested(Error, "the error")


class Failure(Answer):
    """Why a job failed."""

    code = string("in one word, such as `out_of_memory`")
    message = string("in a sentence")


class UsedAdapter(Answer):
    name = string("its name in the model's entry")
    strength = strength_field(lambda used: (used.high, used.low))


class UsedOptions(ModelDefaults):
    """The options that were used: sending them back gives the same video."""

    class Meta(Answer.Meta):
        fields = ("seed", *ModelDefaults._declared_fields, "adapters", "response_format")

    seed = integer("the seed, drawn by the server where none was sent")
    guidance_scale_2 = number("the same for a second expert, null where there is none", none=True)
    flow_shift = number("the scheduler's shift")
    adapters = fields.List(fields.Nested(UsedAdapter), metadata=described("the adapters; their effects add up"))
    response_format = enum("how the file comes", "url", "b64_json")


def _used(job: Job) -> dict[str, Any]:
    return {**vars(job.task), "response_format": "b64_json" if job.presentation.inline else "url"}


class UsedBlocks(Answer):
    video = nested(UsedOptions, "what was used, for an image too", _used)


class Numerics(Answer):
    """What the video's numbers depend on."""

    reproducible = boolean("whether the seed gives these bytes again on this machine, whatever ran before")
    lossy = strings("what made the numbers other than the model's own", examples=[["adapter fast4"]])
    may_vary_with = strings("what could change a byte", examples=[["compile"]])


numerics_field = partial(nested, Numerics, "what its numbers depend on; null for jobs of older versions", none=True)


class Page(Answer):
    """A part of a list: `last_id` is the `after` of the next."""

    class Meta(Answer.Meta):
        fields = ("object", "data", "first_id", "last_id", "has_more")  # `data` is the subclass's

    object = constant("its kind", "list")
    first_id = string("the first entry's id", none=True)
    last_id = string("the last entry's id", none=True)
    has_more = boolean("whether more entries follow")


def completion_second(job: Job) -> int | None:
    return int(job.finished_at) if job.finished_at and job.status is Status.COMPLETED else None


def seconds_taken(job: Job) -> float:
    """Return the seconds from the claim of a completed job to its end."""
    if job.started_at is None or job.finished_at is None:
        return 0.0
    return round(max(job.finished_at - job.started_at, 0.0), 3)


class Unfinished(Answer):
    """The keys of an unfinished job, after its others."""

    progress = integer("percent", lambda job: job.progress.percent if job.progress else 0, maximum=100)
    phase = enum(
        "where a running job is", *Phase, read=lambda job: job.progress.phase if job.progress else None, none=True
    )
    steps_done = integer(
        "denoising steps so far",
        lambda job: job.progress.done if job.progress and job.progress.phase is Phase.STEP else None,
        none=True,
    )
    queue_position = integer(
        "1 is the next job to run; null once it runs",
        lambda job: None if job.ahead is None else job.ahead + 1,
        minimum=1,
        none=True,
    )
    remaining_seconds = number(
        "until it is done, by the forecast of the queue; null if unknown",
        lambda job: None if job.remaining is None else round(job.remaining, 1),
        none=True,
    )


def _until_finished(field: fields.Field[Any]) -> fields.Field[Any]:
    read = when(lambda job: not job.status.finished, field.metadata["read"])
    field.metadata = {**field.metadata, "read": read, "sometimes": True}
    return field


UNFINISHED = {name: _until_finished(field) for name, field in Unfinished._declared_fields.items()}
