"""The bytes of finished videos and images, and small pictures of them."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flask import Response, request, send_file

from router.errors import NotReady
from router.system import System
from router.values import Artifact, Job, Status
from router.web.http.fields import invalid_value
from router.web.http.proxies import PROXIED
from router.web.jobs import find, unknown
from router.web.openapi import problems as why
from router.web.openapi.operations import Example, Reply, Routes
from router.web.openapi.parameters import EXPIRES, KNOWN, RANGE, SIGNATURE, in_query
from router.web.server.environ import ENDS
from router.web.waiting.waiters import Waiters

SINGLE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d*)")
STILLS = {"thumbnail": (".thumbnail.webp", "image/webp"), "spritesheet": (".spritesheet.jpg", "image/jpeg")}
VARIANTS = ("video", *STILLS, "preview")
ROUTES = Routes("Files")
VARIANT = in_query(
    "variant",
    "the file, a small picture or a sheet of them, or while the job runs a small picture of what there is so far",
    enum=list(VARIANTS),
    default="video",
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

    def __init__(self, system: System, waiting: Waiters) -> None:
        self._system = system
        self._waiting = waiting

    @ROUTES.add(
        "GET /v1/videos/{video_id}/content",
        _replies("video/mp4", "image/png", "image/webp", "image/jpeg"),
        head="Look at a video from outside",
        parameters=(VARIANT, RANGE, KNOWN, EXPIRES, SIGNATURE),
        problems=(why.BAD_VALUE, why.NOT_FOUND, why.NOT_READY, why.NO_RANGE),
        examples=(
            Example("the whole file", flags="-o ball.mp4"),
            Example("a small picture", query="?variant=thumbnail", flags="-o ball.webp"),
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
        artifact, path = self._made(video_id, job)
        if variant == "video":
            return self._send(video_id, path, artifact.media_type, artifact.sha256)
        from router.media.stills import spritesheet, thumbnail  # with numpy, which most workers never need

        suffix, media_type = STILLS[variant]
        make = partial(spritesheet, path, artifact.num_frames) if variant == "spritesheet" else partial(thumbnail, path)
        still = self._still(video_id, job, path, suffix, make)
        return self._send(video_id, still, media_type, f"{artifact.sha256}-{variant}")

    @ROUTES.add(
        "GET /v1/images/{image_id}/content",
        _replies("image/png"),
        head="Look at an image from outside",
        parameters=(RANGE, KNOWN, EXPIRES, SIGNATURE),
        problems=(why.NOT_FOUND, why.NOT_READY, why.NO_RANGE),
        examples=(Example("the whole file", flags="-o ball.png"),),
    )
    def get_image_content(self, image_id: str) -> Response:
        """Fetch an image."""
        job = find(self._system, image_id, "image")
        if job.task.num_frames != 1:
            raise NotReady(f"{image_id} is no image, its job makes a video: GET /v1/videos/video_{job.id}/content")
        artifact, path = self._made(image_id, job)
        return self._send(image_id, path, artifact.media_type, artifact.sha256)

    def _preview(self, public: str, job: Job) -> Response:
        data = None if job.status.finished else self._system.artifacts.preview(job.id)
        if data is None:
            raise NotReady(f"{public} has no preview: there is one while its job runs, now it is {job.status}")
        return Response(data, mimetype="image/jpeg", headers={"cache-control": "no-store"})

    def _made(self, public: str, job: Job) -> tuple[Artifact, Path]:
        path = self._system.artifacts.output(job)
        if job.artifact is None or path is None:
            raise _not_there(public, job)
        self._system.artifacts.touch(path)
        return job.artifact, path

    def _still(self, public: str, job: Job, output: Path, suffix: str, make: Callable[[], bytes]) -> Path:
        """Return the file of a small picture, made at its first request."""
        try:
            path = self._system.artifacts.derived_file(output, suffix, make, job.owner)
        except (ValueError, FileNotFoundError):
            # deleted this very moment, it may still have some of its files
            if output.exists() and self._system.jobs.get(job.id, job.owner) is not None:
                raise
            raise unknown(public) from None
        if self._system.jobs.get(job.id, job.owner) is None:
            self._system.artifacts.delete(job.id)
            raise unknown(public)
        return path

    def _send(self, public: str, path: Path, media_type: str, etag: str) -> Response:
        """Send a file, or have nginx send it where it brought the request."""
        settings = self._system.settings
        if settings.accel and PROXIED in request.environ:
            # ranges, conditions and the ETag are nginx's; it keeps the headers set here
            headers = {
                "x-accel-redirect": f"{settings.accel}/{path.relative_to(settings.data / 'videos')}",
                "content-disposition": f"inline; filename={public}{path.suffix}",
                "cache-control": "no-cache",
            }
            return Response(mimetype=media_type, headers=headers)
        if (ends := request.environ.get(ENDS)) is not None:  # a reader may take long, as one who waits
            ends.enter_context(self._waiting.slot())
        try:
            _simplify_conditions(path.stat().st_size, etag)
            name = f"{public}{path.suffix}"
            return send_file(path, mimetype=media_type, download_name=name, etag=etag, conditional=True)
        except FileNotFoundError:  # deleted this very moment
            raise unknown(public) from None


def _simplify_conditions(size: int, etag: str) -> None:
    """Keep one satisfiable range, and no `If-Match`; RFC 9110 ignores other ranges."""
    environ = request.environ
    environ.pop("HTTP_IF_MATCH", None)  # it guards writes, and nobody writes here
    plain = SINGLE_RANGE.fullmatch(environ.get("HTTP_RANGE", ""))
    known = request.if_none_match.contains_weak(etag)
    if plain is None or known or (plain[1] == "" and len(plain[2]) > 18):
        environ.pop("HTTP_RANGE", None)
    elif plain[1] == "" and int(plain[2]) > size:
        environ["HTTP_RANGE"] = f"bytes=-{size}"


def _not_there(public: str, job: Job) -> NotReady:
    if job.status is Status.COMPLETED:
        return NotReady(f"{public} was completed, but its file is gone, or no longer whole")
    if not job.status.finished:
        return NotReady(f"{public} is not ready: its job is {job.status}")
    ended = "was cancelled" if job.status is Status.CANCELLED else f"has {job.status}"
    why = f": {job.failure.message}" if job.failure else ""
    return NotReady(f"{public} has no content, its job {ended}{why}")
