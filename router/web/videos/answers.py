"""The answers of `/v1/videos`, and when to ask for them again."""

from operator import attrgetter
from typing import Any

from marshmallow import fields, missing

from registry import Input
from router.values import Job, Phase, Status
from router.web.answer_fields import (
    Answer,
    boolean,
    constant,
    enum,
    integer,
    nested,
    number,
    one_of,
    string,
    strings,
    when,
)
from router.web.answers import UNFINISHED, Failure, Page, UsedBlocks, completion_second, numerics_field, seconds_taken
from router.web.file_links import FileLinks
from router.web.http.fields import described
from router.web.job_usage import JobUsage, shown

NAMES = {Status.CANCELLED: Status.FAILED}  # that API has no other word
STATUSES = [status for status in Status if status not in NAMES]
CANCELLED = {"code": "cancelled", "message": "the job was cancelled"}
SOONEST, LATEST = 500, 5000  # milliseconds between two polls
QUEUED = 1000  # milliseconds for each job that comes before


def _progress(job: Job) -> int:
    if job.status is Status.COMPLETED:
        return 100
    return job.progress.percent if job.progress else 0


def _seconds(job: Job) -> str:
    """Return the length as it was sent, else the real one, as text."""
    sent = job.presentation.seconds
    length = _length(job) if sent is None else sent
    # The SDKs take text, and some of them a whole number only.
    return f"{length:.4f}".rstrip("0").rstrip(".")


def _length(job: Job) -> float:
    return job.task.num_frames / job.task.frames_per_second


def _is_completed(job: Job) -> bool:
    return job.status is Status.COMPLETED


def _source(job: Job) -> str | None:
    source = job.presentation.remixed_from
    return f"video_{source}" if source else None


def _usage(job: Job) -> Any:
    return shown([job]) or missing


class VideoImage(Answer):
    """An input image, upright."""

    role = enum("the frame that it is: the first or the last", Input.IMAGE, Input.LAST_IMAGE)
    width = integer("pixels, null for jobs of older versions", lambda image: image.width or None, none=True)
    height = integer("pixels, null for jobs of older versions", lambda image: image.height or None, none=True)


class Video(Answer):
    """A video: the 13 keys of OpenAI's Videos API, and the used options."""

    class Meta(Answer.Meta):
        include = {**UNFINISHED, "progress": integer("percent", _progress, maximum=100)}  # noqa: RUF012

    id = string("`video_` and the job's id", lambda job: f"video_{job.id}", pattern="^video_[0-9a-f]{32}$")
    object = constant("its kind", "video")
    model = string("the model that runs, whatever route was asked for")
    status = enum(
        "where it is; one that was cancelled has failed", *STATUSES, read=lambda job: NAMES.get(job.status, job.status)
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
    images = fields.List(
        fields.Nested(VideoImage), metadata=described("the input images, as they were sent", read=attrgetter("inputs"))
    )
    numerics = numerics_field()
    warnings = strings("what was adjusted or not used, and what a queued job waits for")
    url = string("where the file of a completed video is", lambda _: missing, sometimes=True)  # the renderer's
    num_outputs = integer("1, once it is completed", when(_is_completed, lambda _: 1), sometimes=True)
    num_frames = integer(
        "its frames, once it is completed", when(_is_completed, attrgetter("task.num_frames")), sometimes=True
    )
    fps = integer(
        "its rate, once it is completed", when(_is_completed, attrgetter("task.frames_per_second")), sometimes=True
    )
    duration_s = number("its length in seconds, once it is completed", when(_is_completed, _length), sometimes=True)
    usage = nested(JobUsage, "what it took, once it is finished and that is known", _usage, sometimes=True)
    inference_time_s = number("the seconds that its engine took", when(_is_completed, seconds_taken), sometimes=True)


class Videos(Page):
    data = one_of("the videos", Video)


class DeletedVideo(Answer):
    id = string("what was deleted")
    object = constant("its kind", "video.deleted")
    deleted = boolean("true", lambda _: True)


VIDEO = Video()


def render(job: Job, keep_seconds: float, links: FileLinks) -> dict[str, Any]:
    """Return the Video; a completed one expires `keep_seconds` after its job has finished."""
    video = VIDEO.dump(job)
    if job.finished_at and job.status is Status.COMPLETED:
        video["expires_at"] = int(job.finished_at + keep_seconds)
        video["url"] = links.host() + links.of(job)
    return video


def poll_after_ms(job: Job, now: float) -> int:
    """Return the milliseconds until the next poll; `now` is seconds since 1970."""
    # A tenth of the time that the steps will take at their measured rate, a second for each job ahead;
    # the SDKs take the first answer for all their polls.
    wait = float(QUEUED * (1 + (job.ahead or 0)))
    if job.progress and job.progress.phase is Phase.STEP and job.started_at is not None:
        percent = max(job.progress.percent, 1)
        wait = 100 * (now - job.started_at) * (100 - percent) / percent
    return round(min(max(wait, SOONEST), LATEST))
