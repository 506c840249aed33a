"""A video and lists of them: `/v1/videos`."""

from __future__ import annotations

from router.web.openapi.common import Failure, Page, Unfinished, UsedBlocks
from router.web.openapi.shapes import Answer, integer, part, several, string, strings, truth, word


class Video(Unfinished):
    """A video: the 13 keys of OpenAI's Videos API, and what was used and adjusted."""

    id = string("`video_` and the job's id", pattern="^video_[0-9a-f]{32}$")
    object = word("its kind", "video")
    model = string("the model that runs, whatever route was asked for")
    status = word("where it is; one that was cancelled has failed", "queued", "in_progress", "completed", "failed")
    progress = integer("percent", maximum=100)
    created_at = integer("seconds since 1970")
    completed_at = integer("seconds since 1970", none=True)
    expires_at = integer("seconds since 1970, when a finished video is removed; sooner, if the disk is full", none=True)
    prompt = string("what it shows")
    size = string("`WIDTHxHEIGHT` in pixels", pattern="^[0-9]+x[0-9]+$")
    seconds = string("its length, as text", pattern="^[0-9.]+$")
    remixed_from_video_id = string("the video that it is a remix of", none=True)
    error = part(Failure, "why it failed", none=True)
    seed = integer("the seed, drawn by the server where none was sent")
    provider_options = part(UsedBlocks, "what was used")
    warnings = strings("what was adjusted, and what was not used")


class Videos(Page):
    data = several("the videos", Video)


class DeletedVideo(Answer):
    id = string("what was deleted")
    object = word("its kind", "video.deleted")
    deleted = truth("true")
