"""The bytes of finished videos and images."""

from __future__ import annotations

import re

from flask import Blueprint, Response, request, send_file

from router.errors import NotReady
from router.system import System
from router.values import Artifact, Job, Status
from router.web.access import owner
from router.web.ids import find, unknown

RANGE = re.compile(r"bytes=(\d{0,18})-(\d*)")


class Content:
    """`/v1/videos/video_X/content` and `/v1/images/image_X/content`, with ranges, HEAD and an ETag."""

    def __init__(self, system: System) -> None:
        self._system = system

    def blueprint(self) -> Blueprint:
        routes = Blueprint("content", __name__)
        routes.add_url_rule("/v1/videos/<public>/content", view_func=self.video)
        routes.add_url_rule("/v1/images/<public>/content", view_func=self.image)
        return routes

    def video(self, public: str) -> Response:
        return self._send(public, "video")

    def image(self, public: str) -> Response:
        return self._send(public, "image")

    def _send(self, public: str, kind: str) -> Response:
        job = find(self._system.jobs, public, kind, owner())
        path = self._system.artifacts.output(job)
        if job.artifact is None or path is None or not job.artifact.media_type.startswith(kind):
            raise _not_there(public, kind, job)
        _simplify_conditions(job.artifact)
        try:
            return send_file(
                path,
                mimetype=job.artifact.media_type,
                download_name=f"{public}{path.suffix}",
                etag=job.artifact.sha256,
                conditional=True,
            )
        except FileNotFoundError:  # deleted this very moment
            raise unknown(public) from None


def _simplify_conditions(artifact: Artifact) -> None:
    """Leave only a single range that can be served; as RFC 9110 has it, others are ignored or come after the ETag."""
    environ = request.environ
    environ.pop("HTTP_IF_MATCH", None)  # it guards writes, and nobody writes here
    plain = RANGE.fullmatch(environ.get("HTTP_RANGE", ""))
    known = request.if_none_match.contains_weak(artifact.sha256)
    if plain is None or known or (plain[1] == "" and len(plain[2]) > 18):
        environ.pop("HTTP_RANGE", None)
    elif plain[1] == "" and int(plain[2]) > artifact.size:
        environ["HTTP_RANGE"] = f"bytes=-{artifact.size}"


def _not_there(public: str, kind: str, job: Job) -> NotReady:
    made = "image" if job.task.num_frames == 1 else "video"
    if made != kind:
        return NotReady(f"{public} is no {kind}, its job makes one {made}: GET /v1/{made}s/{made}_{job.id}/content")
    if job.status is Status.COMPLETED:
        return NotReady(f"{public} was completed, but its file is gone")
    if job.status.finished:
        why = f": {job.failure.message}" if job.failure else ""
        return NotReady(f"{public} has no content, its job {_ended(job)}{why}")
    return NotReady(f"{public} is not ready: its job is {job.status}")


def _ended(job: Job) -> str:
    return "was cancelled" if job.status is Status.CANCELLED else f"has {job.status}"
