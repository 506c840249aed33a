"""The table of routes: what each takes and answers. A test compares it with the routes that the application has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from router.web.openapi import problems as why
from router.web.openapi.catalog import BrokenModel, Health, Model, Models, Readiness, Route
from router.web.openapi.common import ErrorAnswer
from router.web.openapi.event import Event
from router.web.openapi.operations import JSON, Example, Operation, Reply
from router.web.openapi.parameters import (
    AFTER,
    EXPIRES,
    IMAGE_ID,
    INCLUDE,
    KEY,
    KNOWN,
    LIMIT,
    MODEL_NAME,
    ORDER,
    RANGE,
    RESPONSE_ID,
    SIGNATURE,
    STARTING_AFTER,
    STREAM,
    VARIANT,
    VIDEO_ID,
)
from router.web.openapi.response import DeletedResponse, InputItems, Response
from router.web.openapi.video import DeletedVideo, Video, Videos
from router.web.responses.stream import EVENTS
from router.web.schemas import CreateResponse, CreateVideo
from router.web.videos.form import MULTIPART

FILE: dict[str, Any] = {"type": "string", "format": "binary"}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
BALL = "a red ball rolls to the right"
REMIX = CreateVideo(only=("prompt",))

TAGS = {
    "Responses": "Make a video or an image in one call, wait for it, watch it being made, or come back for it.",
    "Videos": (
        "OpenAI's Videos API over the same jobs: `resp_X` and `video_X` are two views of one. "
        "Its `edits`, `extensions` and `characters` are not offered."
    ),
    "Files": "What was made, and small pictures of it.",
    "Models": "What is served.",
    "Server": "How the server is, and this document.",
}
STREAMED = {  # OpenAPI 3.1 has no word for the schema of each event
    EVENTS: {"description": "events, then `data: [DONE]`", "x-each": {"$ref": "#/components/schemas/Event"}}
}
FILE_HEADERS = ("etag", "accept-ranges", "content-disposition")
POLLED = ("openai-poll-after-ms",)


def _files(*media_types: str) -> dict[int, Reply]:
    files = dict.fromkeys(media_types, FILE)
    return {
        200: Reply("the file", files, FILE_HEADERS),
        206: Reply("a part of it", files, (*FILE_HEADERS, "content-range")),
        304: Reply("it is the one that you have", headers=FILE_HEADERS),
    }


def _head(operation: Operation, name: str, summary: str) -> Operation:
    """Return the same without a body."""
    replies = {status: replace(reply, contents={}) for status, reply in operation.replies.items()}
    return replace(operation, method="HEAD", id=name, summary=summary, replies=replies, examples=())


VIDEO_FILE = Operation(
    "GET",
    "/v1/videos/{video_id}/content",
    "getVideoContent",
    "Files",
    "Fetch a video",
    _files("video/mp4", "image/png", "image/webp", "image/jpeg"),
    parameters=(VIDEO_ID, VARIANT, RANGE, KNOWN, EXPIRES, SIGNATURE),
    problems=(why.BAD_VALUE, why.NOT_FOUND, why.NOT_READY, why.NO_RANGE),
    examples=(
        Example("the whole file", flags="-o ball.mp4"),
        Example("a small picture", query="?variant=thumbnail", flags="-o ball.webp"),
        Example("the first kilobyte", flags="-H 'Range: bytes=0-1023' -o start.mp4"),
    ),
)
IMAGE_FILE = Operation(
    "GET",
    "/v1/images/{image_id}/content",
    "getImageContent",
    "Files",
    "Fetch an image",
    _files("image/png"),
    parameters=(IMAGE_ID, RANGE, KNOWN, EXPIRES, SIGNATURE),
    problems=(why.NOT_FOUND, why.NOT_READY, why.NO_RANGE),
    examples=(Example("the whole file", flags="-o ball.png"),),
)
ROUTES: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/v1/responses",
        "createResponse",
        "Responses",
        "Make a video",
        {200: Reply("the response, or its events", {JSON: Response(), **STREAMED})},
        about=(
            "Waits for the video, unless `background` or `stream` is set. After 30 silent seconds the answer begins "
            "with white space, and a failure from then on is a 200 whose `status` is `failed`. A caller who goes away, "
            "also by half-closing the connection, cancels the job, unless `background`, `store` or a key says that it "
            "is to be kept."
        ),
        parameters=(KEY,),
        bodies={JSON: CreateResponse()},
        problems=(*why.MAKING, *why.WAITING, *why.FAILING, why.NOT_FOUND),
        examples=(
            Example(
                "from text", {"input": BALL, "seed": 7, "provider_options": {"video": {"num_frames": 5, "steps": 8}}}
            ),
            Example(
                "from an image and text",
                {
                    "input": [
                        {
                            "role": "user",
                            "content": [
                                {"type": "input_image", "image_url": PIXEL},
                                {"type": "input_text", "text": "it moves to the left"},
                            ],
                        }
                    ],
                    "provider_options": {"video": {"steps": 8}},
                },
            ),
            Example("in the background", {"input": BALL, "background": True}),
            Example("as a stream", {"input": BALL, "stream": True}, flags="-N"),
            Example("an image", {"input": BALL, "provider_options": {"image": {}}}),
        ),
        links=("retrieveResponse", "deleteResponse", "cancelResponse", "listInputItems"),
    ),
    Operation(
        "GET",
        "/v1/responses/{response_id}",
        "retrieveResponse",
        "Responses",
        "Look at a response",
        {200: Reply("the response, or its events", {JSON: Response(), **STREAMED})},
        parameters=(RESPONSE_ID, STREAM, STARTING_AFTER),
        problems=(why.BAD_VALUE, why.NOT_FOUND, *why.WAITING),
        examples=(Example("how far is it?"), Example("its events", query="?stream=true", flags="-N")),
    ),
    Operation(
        "DELETE",
        "/v1/responses/{response_id}",
        "deleteResponse",
        "Responses",
        "Forget a response and its files",
        {200: Reply("it is gone", {JSON: DeletedResponse()})},
        about="In any state; a device that works on it stops at its next step.",
        parameters=(RESPONSE_ID,),
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("delete"),),
    ),
    Operation(
        "POST",
        "/v1/responses/{response_id}/cancel",
        "cancelResponse",
        "Responses",
        "Cancel a response",
        {200: Reply("the response; a finished one as it is", {JSON: Response()})},
        about="A device that works on it stops at its next step.",
        parameters=(RESPONSE_ID,),
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("cancel"),),
    ),
    Operation(
        "GET",
        "/v1/responses/{response_id}/input_items",
        "listInputItems",
        "Responses",
        "Look at what a response was made from",
        {200: Reply("its items", {JSON: InputItems()})},
        parameters=(RESPONSE_ID, LIMIT, ORDER, AFTER, INCLUDE),
        problems=(why.BAD_VALUE, why.NOT_FOUND),
        examples=(Example("the prompt and the images"),),
    ),
    Operation(
        "POST",
        "/v1/videos",
        "createVideo",
        "Videos",
        "Make a video",
        {200: Reply("the video, which is being made", {JSON: Video()}, POLLED)},
        about="Answers at once. A form's names have brackets where JSON nests: `provider_options[video][steps]`.",
        parameters=(KEY,),
        bodies={JSON: CreateVideo(), MULTIPART: CreateVideo()},
        problems=(*why.MAKING, why.BAD_FORM),
        examples=(
            Example("from text", {"prompt": BALL, "seed": 7, "provider_options": {"video": {"steps": 8}}}),
            Example("from an image, as a form", form={"prompt": "it rises", "input_reference": "@ball.png"}),
        ),
        links=("retrieveVideo", "deleteVideo", "remixVideo", "getVideoContent"),
    ),
    Operation(
        "GET",
        "/v1/videos",
        "listVideos",
        "Videos",
        "List the videos",
        {200: Reply("a page", {JSON: Videos()})},
        about="Those that were asked for by `/v1/responses` too.",
        parameters=(LIMIT, ORDER, AFTER),
        problems=(why.BAD_VALUE, why.NOT_FOUND),
        examples=(Example("the newest"), Example("the next page", query="?limit=2&after=VIDEO_ID")),
    ),
    Operation(
        "GET",
        "/v1/videos/{video_id}",
        "retrieveVideo",
        "Videos",
        "Look at a video",
        {200: Reply("the video", {JSON: Video()}, POLLED)},
        parameters=(VIDEO_ID,),
        problems=(why.NOT_FOUND,),
        examples=(Example("how far is it?"),),
    ),
    Operation(
        "DELETE",
        "/v1/videos/{video_id}",
        "deleteVideo",
        "Videos",
        "Forget a video and its files",
        {200: Reply("it is gone", {JSON: DeletedVideo()})},
        about="In any state; a device that works on it stops at its next step.",
        parameters=(VIDEO_ID,),
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("delete"),),
    ),
    Operation(
        "POST",
        "/v1/videos/{video_id}/remix",
        "remixVideo",
        "Videos",
        "Make a video again with another prompt",
        {200: Reply("the new video", {JSON: Video()}, POLLED)},
        about="With the images, the options and the seed of its source.",
        parameters=(VIDEO_ID, KEY),
        bodies={JSON: REMIX, MULTIPART: REMIX},
        problems=(*why.MAKING, why.BAD_FORM, why.NOT_FOUND),
        examples=(Example("another colour", {"prompt": "a blue ball rolls to the right"}),),
        links=("retrieveVideo", "deleteVideo"),
    ),
    VIDEO_FILE,
    _head(VIDEO_FILE, "headVideoContent", "Look at a video from outside"),
    IMAGE_FILE,
    _head(IMAGE_FILE, "headImageContent", "Look at an image from outside"),
    Operation(
        "GET",
        "/v1/models",
        "listModels",
        "Models",
        "List the models and routes",
        {200: Reply("all of them", {JSON: Models()})},
        examples=(Example("all"),),
    ),
    Operation(
        "GET",
        "/v1/models/{model}",
        "retrieveModel",
        "Models",
        "Look at a model or route",
        {
            200: Reply(
                "the model or route",
                {JSON: {"anyOf": [Model(), Route(), BrokenModel()]}},
            )
        },
        parameters=(MODEL_NAME,),
        problems=(why.UNKNOWN_MODEL,),
        examples=(Example("one"),),
    ),
    Operation(
        "GET",
        "/healthz",
        "health",
        "Server",
        "Ask whether this process answers",
        {200: Reply("it does", {JSON: Health()})},
        examples=(Example("alive?"),),
        open=True,
    ),
    Operation(
        "GET",
        "/readyz",
        "readiness",
        "Server",
        "Ask whether a new job is taken and done",
        {200: Reply("it is", {JSON: Readiness()}), 503: Reply("it is not", {JSON: Readiness()})},
        examples=(Example("ready?"),),
        open=True,
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        "Server",
        "Read what was counted and measured",
        {200: Reply("Prometheus' text", {"text/plain": {"type": "string"}})},
        about=(
            "For calls over loopback that came through no proxy; where the server has a key for this, for those that "
            "bring it: `Authorization: Bearer KEY`."
        ),
        examples=(Example("all"),),
    ),
    Operation(
        "GET",
        "/openapi.json",
        "openapi",
        "Server",
        "Fetch this document",
        {200: Reply("OpenAPI 3.1", {JSON: {"type": "object"}})},
        problems=(why.OTHER_HOST,),
        examples=(Example("save it", flags="-o openapi.json"),),
        open=True,
    ),
    Operation(
        "GET",
        "/docs",
        "docs",
        "Server",
        "Read this document",
        {200: Reply("a page", {"text/html": {"type": "string"}})},
        problems=(why.OTHER_HOST,),
        open=True,
    ),
)
COMPONENTS = (ErrorAnswer(), Event())  # those that no route refers to
