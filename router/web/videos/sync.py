"""Videos for waiting callers: the bytes, or the answer for MLPerf's client."""

import base64
import logging
from contextlib import ExitStack
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from flask import Response, request

from router.errors import InvalidRequest, Unavailable, reason
from router.intake.intake import Intake
from router.runtime.files import write_file
from router.system import System
from router.web.access import idempotency_key
from router.web.answer_fields import Answer, string
from router.web.answers import seconds_taken
from router.web.file_sender import FileSender
from router.web.finished_files import FinishedFiles, format_of
from router.web.http.body import read_json
from router.web.jobs import submit
from router.web.openapi import problems as why
from router.web.openapi.examples import CIRCLE
from router.web.openapi.operations import JSON, Example, Reply, Routes, ok
from router.web.openapi.parameters import KEY
from router.web.videos.form import MULTIPART, URLENCODED, read_fields
from router.web.videos.parse import CREATE, read_flat_request
from router.web.videos.schema import GenerateVideo
from router.web.waiting.outcome import CLIENT_LEFT, NO_RETRY, Outcome, outcome
from router.web.waiting.waiters import Waiters
from router.web.waiting.written import JsonWriter

ROUTES = Routes("Videos")
GENERATE = GenerateVideo()
BINARY = {"type": "string", "format": "binary"}
READABLE = 0o644
HEADERS = ("x-video-id", "x-model", "x-inference-time-s")
OF_FILES = ("etag", "content-disposition")
_NOT_SHARED = "the video was made, but the shared folder cannot be written: GET /v1/videos/{}/content has it"
log = logging.getLogger(__name__)


class GeneratedVideo(Answer):
    video_id = string("`video_` and the job's id", pattern="^video_[0-9a-f]{32}$")
    video_bytes = string("the file in base64", sometimes=True)
    video_path = string("its path in the shared folder, where that was asked for", sometimes=True)


GENERATED = GeneratedVideo()


class SyncVideos:
    """Makes videos for callers who wait; a job is cancelled when its caller disconnects."""

    def __init__(
        self, system: System, intake: Intake, waiting: Waiters, files: FinishedFiles, sender: FileSender
    ) -> None:
        self._settings = system.settings
        self._intake = intake
        self._waiting = waiting
        self._files = files
        self._sender = sender
        self._writer = JsonWriter(system.settings)

    @ROUTES.add(
        "POST /v1/videos/sync",
        {200: Reply("the file", {"video/mp4": BINARY, "image/png": BINARY}, (*HEADERS, *OF_FILES))},
        parameters=(KEY,),
        bodies={JSON: CREATE, MULTIPART: CREATE, URLENCODED: CREATE},
        problems=(*why.MAKING, why.BAD_FORM, *why.WAITING, *why.FAILING, *why.ENDED, why.NOT_FOUND),
        examples=(Example("from text", {"prompt": CIRCLE, "seed": 7, "steps": 8}, flags="-o circle.mp4"),),
    )
    def create_video_and_wait(self) -> Response:
        """Make a video and wait for its bytes.

        The body is that of `POST /v1/videos`. Nothing is sent before the file is there, so a proxy must wait as long.
        A caller who goes away cancels the job, unless an idempotency key says that it is to be kept.
        """
        body = read_fields(self._settings.max_body_bytes, CREATE)
        parsed = read_flat_request(body, attended=idempotency_key() is None)
        with ExitStack() as held:
            held.enter_context(self._waiting.slot())
            job = submit(self._intake, parsed.request)
            del body, parsed  # their images would be kept for as long as somebody waits
            with self._waiting.watch(job, request.environ.get("gunicorn.socket")) as watch:
                watch.ended(inf)
            if watch.left:
                return Response(status=CLIENT_LEFT)
            job = outcome(watch, self._waiting, f"/v1/videos/video_{job.id}").completed().first
            public = f"video_{job.id}"
            response = self._sender.send_here(public, self._files.presented(public, job), held.pop_all())
        response.headers.extend(zip(HEADERS, (public, job.model, str(seconds_taken(job))), strict=True))
        return response

    @ROUTES.add(
        "POST /v1/videos/generations",
        ok("the video", GeneratedVideo),
        parameters=(KEY,),
        bodies={JSON: GENERATE},
        problems=(*why.MAKING, *why.WAITING, *why.FAILING, *why.ENDED, why.NOT_FOUND),
        examples=(Example("from text", {"prompt": CIRCLE, "seed": 42, "num_inference_steps": 8}),),
    )
    def generate_video(self) -> Response:
        """Make a video as MLPerf's client asks for it.

        `num_frames` wins over `seconds`. Warnings stand in `GET /v1/videos/{video_id}`. After 30 silent seconds the
        answer begins with white space, and an error from then on is a 200 with an `error`.
        """
        body = read_json(self._settings.max_body_bytes)
        parsed = read_flat_request(body, GENERATE, attended=idempotency_key() is None)
        shared = self._shared_folder(parsed.values.get("response_format"))
        with ExitStack() as held:
            held.enter_context(self._waiting.slot())
            job = submit(self._intake, parsed.request)
            del body, parsed
            watch = held.enter_context(self._waiting.watch(job, request.environ.get("gunicorn.socket")))
            ended = outcome(watch, self._waiting, f"/v1/videos/video_{job.id}")
            return self._writer.answer(watch, partial(self._generated, ended, shared), held)

    def _generated(self, ended: Outcome, shared: Path | None) -> dict[str, Any]:
        job = ended.completed().first
        public = f"video_{job.id}"
        data = self._files.read(public, job)
        if shared is None:
            return GENERATED.dump({"video_id": public, "video_bytes": base64.b64encode(data).decode()})
        try:
            copy = write_file(shared / f"{public}.{format_of(job)}", data, mode=READABLE, root=shared)
            copy.chmod(READABLE)  # whatever the umask
        except OSError as error:
            log.error("the shared folder %s cannot be written: %s", shared, reason(error))
            raise Unavailable(_NOT_SHARED.format(public), code="store_unavailable", headers=NO_RETRY) from error
        return GENERATED.dump({"video_id": public, "video_path": str(copy)})

    def _shared_folder(self, response_format: Any) -> Path | None:
        """Return the folder of `video_path`, None for another format."""
        if response_format != "video_path":
            return None
        if self._settings.shared_videos is None:
            message = (
                "response_format must be video_bytes here, got video_path: this server names no folder "
                "that it shares with its callers (FRAMEGATE_SHARED_VIDEOS)"
            )
            raise InvalidRequest(message, param="response_format")
        return self._settings.shared_videos
