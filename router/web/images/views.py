"""The views of `/v1/images`: OpenAI's Images API over jobs of one frame."""

import base64
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from flask import Response, request

from router.intake.intake import Intake
from router.system import System
from router.values import Job
from router.web.access import idempotency_key
from router.web.answer_fields import Answer, integer, nested, one_of, string, strings
from router.web.answers import numerics_field
from router.web.file_links import FileLinks
from router.web.finished_files import FinishedFiles, format_of
from router.web.http.body import read_json
from router.web.images.parse import CREATE, read_image_request
from router.web.job_usage import JobUsage, shown
from router.web.jobs import submit
from router.web.openapi import problems as why
from router.web.openapi.examples import CIRCLE
from router.web.openapi.operations import JSON, Example, Routes, ok
from router.web.openapi.parameters import KEY
from router.web.videos.form import MULTIPART, URLENCODED, read_fields
from router.web.waiting.outcome import Outcome, outcome
from router.web.waiting.waiters import Waiters
from router.web.waiting.written import JsonWriter

ROUTES = Routes("Images")
PROBLEMS = (*why.MAKING, *why.WAITING, *why.FAILING, *why.ENDED, why.NOT_FOUND)


class MadeImage(Answer):
    id = string("`image_` and its job's id", pattern="^image_[0-9a-f]{32}$")
    b64_json = string("the file in base64", sometimes=True)
    url = string("where the file is, where that was asked for", sometimes=True)
    seed = integer("the seed of this image")


class TokenDetails(Answer):
    image_tokens = integer("0", lambda _: 0)
    text_tokens = integer("0", lambda _: 0)


class ImageUsage(Answer):
    """The work, with the keys that OpenAI's clients require."""

    input_tokens = integer("0", lambda _: 0)
    input_tokens_details = nested(TokenDetails, "of those", lambda _: {})
    output_tokens = integer("0", lambda _: 0)
    total_tokens = integer("0", lambda _: 0)
    gpu_seconds = JobUsage._declared_fields["gpu_seconds"]
    cost = JobUsage._declared_fields["cost"]


class Images(Answer):
    """Images that were made together."""

    created = integer("seconds since 1970")
    data = one_of("the images", MadeImage)
    model = string("the model that ran, whatever route was asked for")
    output_format = string("`png`, `jpeg` or `webp`")
    size = string("`WIDTHxHEIGHT` in pixels", pattern="^[0-9]+x[0-9]+$")
    usage = nested(ImageUsage, "what they took")
    numerics = numerics_field()
    warnings = strings("what was adjusted or not used, and what a queued job waits for")


IMAGES, IMAGE = Images(), MadeImage()


class ImageViews:
    """Makes images for callers who wait; the jobs are cancelled when their caller disconnects."""

    def __init__(
        self, system: System, intake: Intake, waiting: Waiters, files: FinishedFiles, links: FileLinks
    ) -> None:
        self._settings = system.settings
        self._intake = intake
        self._waiting = waiting
        self._files = files
        self._links = links
        self._writer = JsonWriter(system.settings)

    @ROUTES.add(
        "POST /v1/images/generations",
        ok("the images", Images),
        parameters=(KEY,),
        bodies={JSON: CREATE},
        problems=PROBLEMS,
        examples=(Example("two images", {"prompt": CIRCLE, "n": 2, "steps": 8, "response_format": "url"}),),
    )
    def create_images(self) -> Response:
        """Make up to four images from text.

        Each is a job of one frame, with seeds counted up. A size beyond the model's limit is made smaller, with a
        warning. After 30 silent seconds the answer begins with white space, and an error from then on is a 200 with
        an `error`.
        """
        return self._make(partial(read_json, self._settings.max_body_bytes), edits=False)

    @ROUTES.add(
        "POST /v1/images/edits",
        ok("the images", Images),
        parameters=(KEY,),
        bodies={JSON: CREATE, MULTIPART: CREATE, URLENCODED: CREATE},
        problems=(*PROBLEMS, why.BAD_FORM),
        examples=(Example("as a form", form={"prompt": "it moves right", "image": "@circle.png"}),),
    )
    def edit_images(self) -> Response:
        """Make up to four images from an image and text.

        As `POST /v1/images/generations`, by a model that takes an image.
        """
        return self._make(partial(read_fields, self._settings.max_body_bytes, CREATE, file_name="image"), edits=True)

    def _make(self, read: Callable[[], dict[str, Any]], *, edits: bool) -> Response:
        parsed = read_image_request(read(), edits=edits, attended=idempotency_key() is None)
        with ExitStack() as held:
            held.enter_context(self._waiting.slot())
            job = submit(self._intake, parsed)
            del parsed  # its image would be kept for as long as somebody waits
            watch = held.enter_context(self._waiting.watch(job, request.environ.get("gunicorn.socket")))
            ended = outcome(watch, self._waiting, f"/v1/responses/resp_{job.id}")
            return self._writer.answer(watch, partial(self._images, ended, self._links.host()), held)

    def _images(self, ended: Outcome, host: str) -> dict[str, Any]:
        """Return the answer at the end of a wait; raises as `Outcome.completed`."""
        group = ended.completed()
        made, first = group.made, group.made[0]
        return IMAGES.dump(
            {
                "created": int(first.created_at),
                "data": [self._image(job, host) for job in made],
                "model": first.model,
                "output_format": format_of(first),
                "size": f"{first.task.width}x{first.task.height}",
                "usage": shown(group.jobs),
                "numerics": first.numerics,
                "warnings": [*first.warnings, *group.warnings],
            }
        )

    def _image(self, job: Job, host: str) -> dict[str, Any]:
        public = f"image_{job.id}"
        if not job.presentation.inline:
            return IMAGE.dump({"id": public, "url": host + self._links.of(job), "seed": job.task.seed})
        data = base64.b64encode(self._files.read(public, job)).decode()
        return IMAGE.dump({"id": public, "b64_json": data, "seed": job.task.seed})
