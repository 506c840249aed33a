"""What a video would be and take, before it is asked for."""

from typing import Any

from flask import Response, jsonify

from router.intake.estimate import RequestEstimate
from router.intake.intake import Intake
from router.system import System
from router.values import EstimateBasis
from router.web.access import caller, share
from router.web.answer_fields import Answer, constant, enum, integer, nested, number, string, strings
from router.web.answers import UsedOptions
from router.web.http.body import release_body
from router.web.openapi import problems as why
from router.web.openapi.examples import CIRCLE
from router.web.openapi.operations import JSON, Example, Routes, ok
from router.web.videos.form import MULTIPART, URLENCODED, read_fields
from router.web.videos.parse import read_flat_request
from router.web.videos.schema import EstimateVideo

ROUTES = Routes("Videos")
BODY = EstimateVideo()
SECONDS, COST = 3, 6  # decimals


def _rounded(value: float | None, decimals: int = SECONDS) -> float | None:
    return None if value is None else round(value, decimals)


def _used(estimate: RequestEstimate) -> dict[str, Any]:
    return {**vars(estimate.task), "seed": estimate.seed, "response_format": "url"}


class EstimatedOptions(UsedOptions):
    """The options that would be used."""

    seed = integer("the seed, null where the server would draw one", none=True)


class EstimatedBlocks(Answer):
    video = nested(EstimatedOptions, "what would be used", _used)


class VideoEstimate(Answer):
    """What a video would be and take."""

    object = constant("its kind", "video.estimate")
    model = string("the model that would run", lambda estimate: estimate.model.name)
    size = string(
        "`WIDTHxHEIGHT` in pixels",
        lambda estimate: f"{estimate.task.width}x{estimate.task.height}",
        pattern="^[0-9]+x[0-9]+$",
    )
    seconds = string(
        "its length, as text",
        lambda estimate: f"{estimate.task.num_frames / estimate.task.frames_per_second:.4f}".rstrip("0").rstrip("."),
        pattern="^[0-9.]+$",
    )
    num_frames = integer("its frames", lambda estimate: estimate.task.num_frames)
    provider_options = nested(EstimatedBlocks, "what would be used", lambda estimate: estimate)
    warnings = strings("what would be adjusted or not used")
    expected_seconds = number(
        "of the work on a device, without a load of the model; null before the first measured job",
        lambda estimate: _rounded(estimate.work.seconds.total if estimate.work else None),
        none=True,
    )
    basis = enum(
        "measured jobs of this size, or those of other sizes or of other models",
        *EstimateBasis,
        read=lambda estimate: estimate.work.basis if estimate.work else None,
        none=True,
    )
    load_seconds = number(
        "of a load of the model, 0 where an engine has it loaded; null if unknown",
        lambda estimate: _rounded(estimate.load),
        none=True,
    )
    remaining_seconds = number(
        "until it would be done: the queue, a load, and the work; null if unknown",
        lambda estimate: _rounded(estimate.remaining),
        none=True,
    )
    cost = number(
        "the expected seconds times the price of the model; null without either",
        lambda estimate: _rounded(estimate.cost, COST),
        none=True,
    )


ESTIMATE = VideoEstimate()


class VideoEstimates:
    def __init__(self, system: System, intake: Intake) -> None:
        self._settings = system.settings
        self._intake = intake

    @ROUTES.add(
        "POST /v1/videos/estimate",
        ok("the estimate", VideoEstimate),
        bodies={JSON: BODY, MULTIPART: BODY, URLENCODED: BODY},
        problems=(*why.ESTIMATING, why.BAD_FORM),
        examples=(
            Example("from text", {"prompt": CIRCLE, "provider_options": {"video": {"steps": 8}}}),
            Example("from an image of this size", {"prompt": CIRCLE, "image_size": "96x64"}),
        ),
    )
    def estimate_video(self) -> Response:
        """Ask what a video would be and take.

        The body is that of `POST /v1/videos`, and so are the refusals: of the model, the options, the queue and
        the budgets. Nothing is queued or stored. An image is decoded nowhere, and fetched only where its size decides
        that of the video; `image_size` and `last_image_size` stand for images.
        """
        body = read_fields(self._settings.max_body_bytes, BODY)
        by = caller()
        parsed = read_flat_request(body, BODY)
        estimate = self._intake.estimate(parsed.request, owner=by.owner, api_key=by.key, share=share())
        release_body()
        return jsonify(ESTIMATE.dump(estimate))
