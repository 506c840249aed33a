"""The views of `/v1/videos`: OpenAI's Videos API over the jobs of both dialects."""

import time
from dataclasses import replace
from typing import Any

from flask import Response, jsonify, request

from router.errors import UnknownJob
from router.intake.intake import Intake
from router.system import System
from router.values import Dialect, Job, Presentation
from router.web.access import owner
from router.web.file_links import FileLinks
from router.web.http import query
from router.web.http.fields import shown
from router.web.jobs import find, forget, submit, unknown
from router.web.openapi import problems as why
from router.web.openapi.examples import CIRCLE
from router.web.openapi.operations import JSON, Example, Routes, ok
from router.web.openapi.parameters import AFTER, KEY, LIMIT, ORDER
from router.web.videos import answers
from router.web.videos.form import MULTIPART, URLENCODED, read_fields
from router.web.videos.list_query import PARAMETERS, read_filter
from router.web.videos.parse import CREATE, NAMES, read_remix, read_video_request
from router.web.videos.schema import CreateVideo

ROUTES = Routes("Videos")
REMIX = CreateVideo(only=("prompt",))
POLLED = "openai-poll-after-ms"
DELETED = answers.DeletedVideo()


class Videos:
    def __init__(self, system: System, intake: Intake, links: FileLinks) -> None:
        self._system = system
        self._intake = intake
        self._links = links

    @ROUTES.add(
        "POST /v1/videos",
        ok("the video, which is being made", answers.Video, POLLED),
        parameters=(KEY,),
        bodies={JSON: CREATE, MULTIPART: CREATE, URLENCODED: CREATE},
        problems=(*why.MAKING, why.BAD_FORM),
        examples=(
            Example("from text", {"prompt": CIRCLE, "seed": 7, "provider_options": {"video": {"steps": 8}}}),
            Example("from an image, as a form", form={"prompt": "it moves right", "input_reference": "@circle.png"}),
        ),
        links=("retrieveVideo", "deleteVideo", "remixVideo", "getVideoContent"),
    )
    def create_video(self) -> Response:
        """Make a video.

        Answers at once. A form's names have brackets where JSON nests: `provider_options[video][steps]`.
        """
        body = read_fields(self._system.settings.max_body_bytes, CREATE)
        return self._answer(submit(self._intake, read_video_request(body)))

    @ROUTES.add(
        "GET /v1/videos",
        ok("a page", answers.Videos),
        parameters=(LIMIT, ORDER, AFTER, *PARAMETERS),
        problems=(why.BAD_VALUE, why.NOT_FOUND),
        examples=(
            Example("the newest"),
            Example("the next page", query="?limit=2&after=VIDEO_ID"),
            Example("of red circles, once they are there", query="?q=red+circle&status=completed"),
        ),
    )
    def list_videos(self) -> Response:
        """List the videos.

        Those that were asked for by `/v1/responses` too. Pages go on with `after` whatever the filters: it may be any
        video of the caller's.
        """
        limit, newest_first = query.limit(), query.newest_first()
        shown_jobs = read_filter(self._system.registries.poll())
        jobs = self._system.jobs.page(
            owner(), after=_after(), limit=limit + 1, newest_first=newest_first, shown=shown_jobs
        )
        if jobs is None:
            after = shown(request.args["after"])
            raise UnknownJob(f"after must be the id of a video of the list, got {after}", param="after")
        return jsonify(query.page([self._video(job) for job in jobs], limit))

    @ROUTES.add(
        "GET /v1/videos/{video_id}",
        ok("the video", answers.Video, POLLED),
        problems=(why.NOT_FOUND,),
        examples=(Example("how far is it?"),),
    )
    def retrieve_video(self, video_id: str) -> Response:
        """Look at a video."""
        return self._answer(self._find(video_id))

    @ROUTES.add(
        "DELETE /v1/videos/{video_id}",
        ok("it is gone", answers.DeletedVideo),
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("delete"),),
    )
    def delete_video(self, video_id: str) -> Response:
        """Forget a video and its files.

        In any state; a device that works on it stops at its next step.
        """
        forget(self._system, video_id, "video")
        return jsonify(DELETED.dump({"id": video_id}))

    @ROUTES.add(
        "POST /v1/videos/{video_id}/remix",
        ok("the new video", answers.Video, POLLED),
        parameters=(KEY,),
        bodies={JSON: REMIX, MULTIPART: REMIX},
        problems=(*why.MAKING, why.BAD_FORM, why.NOT_FOUND),
        examples=(Example("another colour", {"prompt": "a blue circle moves right"}),),
        links=("retrieveVideo", "deleteVideo"),
    )
    def remix_video(self, video_id: str) -> Response:
        """Make a video again with another prompt.

        With the images, the options and the seed of its source.
        """
        source = self._find(video_id)
        prompt, warnings = read_remix(read_fields(self._system.settings.max_body_bytes, CREATE))
        try:
            again = self._intake.again(source)
        except FileNotFoundError:  # deleted this very moment
            raise unknown(video_id) from None
        sent = source.presentation
        presentation = Presentation(
            Dialect.VIDEOS, seconds=sent.seconds, remixed_from=source.id, file_format=sent.file_format
        )
        remix = replace(again, prompt=prompt, names=NAMES, presentation=presentation, warnings=warnings)
        return self._answer(submit(self._intake, remix))

    def _find(self, video_id: str) -> Job:
        return find(self._system, video_id, "video")

    def _answer(self, job: Job) -> Response:
        """Return the Video; for an unfinished one say when to ask again."""
        response = jsonify(self._video(job))
        if not job.status.finished:
            response.headers[POLLED] = str(answers.poll_after_ms(job, time.time()))
        return response

    def _video(self, job: Job) -> dict[str, Any]:
        return answers.render(job, self._system.settings.keep_seconds, self._links)


def _after() -> str | None:
    """Return the job id of `after`: '' for another's name, None without it."""
    public = request.args.get("after")
    if not public:
        return None
    kind, _, job = public.partition("_")
    return job if kind == "video" else ""
