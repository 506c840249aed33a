"""The table of routes: what each takes and answers. A test compares it with the routes that the application has."""

from __future__ import annotations

from typing import Any

from router.idempotency import HEADER
from router.web.form import MULTIPART
from router.web.openapi import problems as why
from router.web.openapi.catalog import Health, Model, Models, Readiness, Route
from router.web.openapi.common import ErrorAnswer
from router.web.openapi.event import Event
from router.web.openapi.operations import JSON, Example, Operation, Parameter, Reply
from router.web.openapi.response import DeletedResponse, InputItems, Response
from router.web.openapi.video import DeletedVideo, Video, Videos
from router.web.schemas import CreateResponse, CreateVideo
from router.web.streaming import EVENTS

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
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "x-request-id": ("names this request in the server's log; yours, if you sent one", {"type": "string"}),
    "x-should-retry": (
        "`false`: the same request would fail again, so clients must not repeat it",
        {"enum": ["false"]},
    ),
    "retry-after": ("how many seconds to wait before the next try", {"type": "integer", "minimum": 0, "maximum": 60}),
    "openai-poll-after-ms": (
        "when to ask again for an unfinished video, in milliseconds",
        {"type": "integer", "minimum": 0},
    ),
    "etag": ("the file's digest, to ask again with `If-None-Match`", {"type": "string"}),
    "accept-ranges": ("`bytes`: parts of the file can be asked for", {"enum": ["bytes"]}),
    "content-range": ("which part of the file this is, or how long the file is", {"type": "string"}),
    "content-disposition": ("the file's name", {"type": "string"}),
}


def _id(name: str, prefix: str) -> Parameter:
    return Parameter(
        name, "path", f"`{prefix}_` and the job's id", {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{32}}$"}
    )


RESPONSE_ID, VIDEO_ID, IMAGE_ID = _id("response_id", "resp"), _id("video_id", "video"), _id("image_id", "image")
MODEL_NAME = Parameter(
    "model", "path", "a name or an alias; slashes may stay as they are", {"type": "string", "minLength": 1}
)
KEY = Parameter(
    HEADER,
    "header",
    "the same request with the same key, sent again within 24 hours, is the same job",
    {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
)
RANGE = Parameter("Range", "header", "one part of the file, such as `bytes=0-1023`", {"type": "string"})
KNOWN = Parameter("If-None-Match", "header", "the `ETag` of a file that is there already", {"type": "string"})
LIMIT = Parameter(
    "limit",
    "query",
    "how many entries a page may have",
    {"type": "integer", "minimum": 0, "maximum": 100, "default": 20},
)
ORDER = Parameter("order", "query", "the newest first, or the oldest", {"enum": ["desc", "asc"], "default": "desc"})
AFTER = Parameter("after", "query", "the id of the entry that the page follows", {"type": "string"})
INCLUDE = Parameter(
    "include",
    "query",
    "`message.input_image.image_url` for the images themselves",
    {"type": "array", "items": {"type": "string"}},
)
STREAM = Parameter("stream", "query", "`true`: answer with server-sent events", {"type": "boolean", "default": False})
STARTING_AFTER = Parameter(
    "starting_after",
    "query",
    "with `stream`: the `sequence_number` of the last event that you have",
    {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
)
VARIANT = Parameter(
    "variant",
    "query",
    "the file, a small picture or a sheet of them, or while the job runs a small picture of what there is so far",
    {"enum": ["video", "thumbnail", "spritesheet", "preview"], "default": "video"},
)

STREAMED = {  # OpenAPI 3.1 has no word for the schema of each event
    EVENTS: {"description": "events, then `data: [DONE]`", "x-each": {"$ref": "#/components/schemas/Event"}}
}
FILE_HEADERS = ("etag", "accept-ranges", "content-disposition")
POLLED = ("openai-poll-after-ms",)
VIDEO_TYPES = ("video/mp4", "image/png", "image/webp", "image/jpeg")


def _file(
    path: str, parameters: tuple[Parameter, ...], what: str, media_types: tuple[str, ...]
) -> tuple[Operation, ...]:
    """Return GET and HEAD of a file."""

    def operation(
        method: str, summary: str, contents: tuple[str, ...], examples: tuple[Example, ...] = ()
    ) -> Operation:
        files = dict.fromkeys(contents, FILE)
        replies = {
            200: Reply("the file", files, FILE_HEADERS),
            206: Reply("a part of it", files, (*FILE_HEADERS, "content-range")),
            304: Reply("it is the one that you have", headers=FILE_HEADERS),
        }
        problems = (why.NOT_FOUND, why.NOT_READY, why.NO_RANGE, *((why.BAD_VALUE,) if VARIANT in parameters else ()))
        name = f"{method.lower()}{what.title()}Content"
        given = (*parameters, RANGE, KNOWN)
        return Operation(
            method, path, name, "Files", summary, replies, parameters=given, problems=problems, examples=examples
        )

    suffix = {"video": "mp4", "image": "png"}[what]
    examples = [Example("the whole file", flags=f"-o ball.{suffix}")]
    if VARIANT in parameters:
        examples.append(Example("a small picture", query="?variant=thumbnail", flags="-o ball.webp"))
    examples.append(Example("the first kilobyte", flags=f"-H 'Range: bytes=0-1023' -o start.{suffix}"))
    return (
        operation("GET", f"Fetch {'a' if what == 'video' else 'an'} {what}", media_types, tuple(examples)),
        operation("HEAD", f"Look at {'a' if what == 'video' else 'an'} {what} from outside", ()),
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
    *_file("/v1/videos/{video_id}/content", (VIDEO_ID, VARIANT), "video", VIDEO_TYPES),
    *_file("/v1/images/{image_id}/content", (IMAGE_ID,), "image", ("image/png",)),
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
                {JSON: {"anyOf": [Model(), Route()]}},
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
    ),
    Operation(
        "GET",
        "/readyz",
        "readiness",
        "Server",
        "Ask whether a device can take work",
        {200: Reply("one can", {JSON: Readiness()}), 503: Reply("none can", {JSON: Readiness()})},
        examples=(Example("ready?"),),
    ),
    Operation(
        "GET",
        "/openapi.json",
        "openapi",
        "Server",
        "Fetch this document",
        {200: Reply("OpenAPI 3.1", {JSON: {"type": "object"}})},
        examples=(Example("save it", flags="-o openapi.json"),),
    ),
    Operation(
        "GET",
        "/docs",
        "docs",
        "Server",
        "Read this document",
        {200: Reply("a page", {"text/html": {"type": "string"}})},
    ),
)
COMPONENTS = (ErrorAnswer(), Event())  # those that no route refers to
