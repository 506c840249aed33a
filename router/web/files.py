"""The bytes of finished videos and images, and pictures derived from them."""

import re
from functools import partial
from pathlib import Path

from flask import Response, request

from router.errors import NotReady
from router.system import System
from router.values import Job
from router.web.file_sender import FileSender
from router.web.finished_files import FinishedFiles, PresentedFile
from router.web.http.fields import invalid_value
from router.web.jobs import find
from router.web.openapi import problems as why
from router.web.openapi.operations import Example, Reply, Routes
from router.web.openapi.parameters import EXPIRES, KNOWN, RANGE, SIGNATURE, in_query

STILLS = {
    "thumbnail": (".thumbnail.webp", "image/webp"),
    "spritesheet": (".spritesheet.jpg", "image/jpeg"),
    "last_frame": (".last_frame.png", "image/png"),
}
VARIANTS = ("video", *STILLS, "preview")
ROUTES = Routes("Files")
VARIANT = in_query(
    "variant",
    "the file, a small picture or a sheet of them, the last frame at its full size, or while the job runs a small "
    "picture of what there is so far",
    enum=list(VARIANTS),
    default="video",
)
SAVED_AS = in_query(
    "filename",
    "the text whose first words name the file that a browser saves, before the first 8 letters of its id; "
    "without it, the whole id does",
)


def _replies(*media_types: str) -> dict[int, Reply]:
    files = {media_type: {"type": "string", "format": "binary"} for media_type in media_types}
    headers = ("etag", "accept-ranges", "content-disposition")
    return {
        200: Reply("the file", files, headers),
        206: Reply("a part of it", files, (*headers, "content-range")),
        304: Reply("it is the one that you have", headers=headers),
    }


class Content:
    """`/v1/videos/video_X/content` and `/v1/images/image_X/content`, with ranges, HEAD and an ETag."""

    def __init__(self, system: System, files: FinishedFiles, sender: FileSender) -> None:
        self._system = system
        self._files = files
        self._sender = sender

    @ROUTES.add(
        "GET /v1/videos/{video_id}/content",
        _replies("video/mp4", "image/png", "image/webp", "image/jpeg"),
        head="Look at a video from outside",
        parameters=(VARIANT, SAVED_AS, RANGE, KNOWN, EXPIRES, SIGNATURE),
        problems=(why.BAD_VALUE, why.NOT_FOUND, why.NOT_READY, why.NO_RANGE),
        examples=(
            Example("the whole file", flags="-o circle.mp4"),
            Example("a small picture", query="?variant=thumbnail", flags="-o circle.webp"),
            Example("where the next one may go on", query="?variant=last_frame", flags="-o last.png"),
            Example("the first kilobyte", flags="-H 'Range: bytes=0-1023' -o start.mp4"),
        ),
    )
    def get_video_content(self, video_id: str) -> Response:
        """Fetch a video."""
        variant = request.args.get("variant", "video")
        if variant not in VARIANTS:
            raise invalid_value("variant", f"one of {', '.join(VARIANTS)}", variant)
        job = find(self._system, video_id, "video")
        if variant == "preview":
            return self._preview(video_id, job)
        if variant == "video":
            return self._sender.send(video_id, self._files.presented(video_id, job), _saved_as(video_id))
        artifact, path = self._files.output(video_id, job)
        suffix, media_type = STILLS[variant]
        still = self._files.derived(video_id, job, path, suffix, partial(_make, variant, path, artifact.num_frames))
        shown = PresentedFile(still, media_type, f"{artifact.sha256}-{variant}")
        return self._sender.send(video_id, shown, _saved_as(video_id))

    @ROUTES.add(
        "GET /v1/images/{image_id}/content",
        _replies("image/png", "image/jpeg", "image/webp"),
        head="Look at an image from outside",
        parameters=(SAVED_AS, RANGE, KNOWN, EXPIRES, SIGNATURE),
        problems=(why.NOT_FOUND, why.NOT_READY, why.NO_RANGE),
        examples=(Example("the whole file", flags="-o circle.png"),),
    )
    def get_image_content(self, image_id: str) -> Response:
        """Fetch an image."""
        job = find(self._system, image_id, "image")
        if job.task.num_frames != 1:
            raise NotReady(f"{image_id} is no image, its job makes a video: GET /v1/videos/video_{job.id}/content")
        return self._sender.send(image_id, self._files.presented(image_id, job), _saved_as(image_id))

    def _preview(self, public: str, job: Job) -> Response:
        data = None if job.status.finished else self._system.artifacts.preview(job.id)
        if data is None:
            raise NotReady(f"{public} has no preview: there is one while its job runs, now it is {job.status}")
        return Response(data, mimetype="image/jpeg", headers={"cache-control": "no-store"})


def _saved_as(public: str) -> str:
    """Return the name of a saved file, without its suffix."""
    words = "-".join(re.findall(r"[^\W_]+", request.args.get("filename", "")))[:40].strip("-")
    return f"{words}-{public.partition('_')[2][:8]}" if words else public


def _make(variant: str, path: Path, num_frames: int) -> bytes:
    """Return a picture derived from a video; raise `ValueError` for an unreadable file."""
    from router.media import stills  # with numpy, which most workers never need

    if variant == "thumbnail":
        return stills.thumbnail(path)
    return (stills.spritesheet if variant == "spritesheet" else stills.last_frame)(path, num_frames)
