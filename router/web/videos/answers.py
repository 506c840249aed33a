"""The answers of `/v1/videos`."""

from __future__ import annotations

from operator import attrgetter

from router.values import Job, Status
from router.web.answer_fields import Answer, boolean, constant, enum, integer, nested, one_of, string, strings
from router.web.answers import UNFINISHED, Failure, Page, UsedBlocks, completion_second

NAMES = {Status.CANCELLED: Status.FAILED}  # that API has no other word
CANCELLED = {"code": "cancelled", "message": "the job was cancelled"}


def _progress(job: Job) -> int:
    if job.status is Status.COMPLETED:
        return 100
    return job.progress.percent if job.progress else 0


def _seconds(job: Job) -> str:
    """Return the length as it was sent, else the real one, as text."""
    sent = job.presentation.seconds
    length = job.task.num_frames / job.task.frames_per_second if sent is None else sent
    # The SDKs take text, and some of them a whole number only.
    return f"{length:.4f}".rstrip("0").rstrip(".")


def _source(job: Job) -> str | None:
    source = job.presentation.remixed_from
    return f"video_{source}" if source else None


class Video(Answer):
    """A video: the 13 keys of OpenAI's Videos API, and the used options."""

    class Meta(Answer.Meta):
        include = {**UNFINISHED, "progress": integer("percent", _progress, maximum=100)}  # noqa: RUF012

    id = string("`video_` and the job's id", lambda job: f"video_{job.id}", pattern="^video_[0-9a-f]{32}$")
    object = constant("its kind", "video")
    model = string("the model that runs, whatever route was asked for")
    status = enum(
        "where it is; one that was cancelled has failed",
        "queued",
        "in_progress",
        "completed",
        "failed",
        read=lambda job: NAMES.get(job.status, job.status),
    )
    created_at = integer("seconds since 1970", lambda job: int(job.created_at))
    completed_at = integer("seconds since 1970", completion_second, none=True)
    expires_at = integer(
        "seconds since 1970, when a finished video is removed; sooner, if the disk is full",
        lambda _: None,  # the renderer's: it depends on the settings
        none=True,
    )
    prompt = string("what it shows", attrgetter("task.prompt"))
    size = string(
        "`WIDTHxHEIGHT` in pixels", lambda job: f"{job.task.width}x{job.task.height}", pattern="^[0-9]+x[0-9]+$"
    )
    seconds = string("its length, as text", _seconds, pattern="^[0-9.]+$")
    remixed_from_video_id = string("the video that it is a remix of", _source, none=True)
    error = nested(
        Failure, "why it failed", lambda job: CANCELLED if job.status is Status.CANCELLED else job.failure, none=True
    )
    seed = integer("the seed, drawn by the server where none was sent", attrgetter("task.seed"))
    provider_options = nested(UsedBlocks, "what was used", lambda job: job)
    warnings = strings("what was adjusted, and what was not used")


class Videos(Page):
    data = one_of("the videos", Video)


class DeletedVideo(Answer):
    id = string("what was deleted")
    object = constant("its kind", "video.deleted")
    deleted = boolean("true", lambda _: True)
