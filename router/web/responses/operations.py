"""The operations of `/v1/responses`."""

from __future__ import annotations

from router.web.openapi import problems as why
from router.web.openapi.operations import JSON, Example, Operation, Reply, ok
from router.web.openapi.parameters import AFTER, INCLUDE, KEY, LIMIT, ORDER, STARTING_AFTER, STREAM
from router.web.responses.answers import DeletedResponse, InputItems, Response
from router.web.responses.parse import SCHEMA
from router.web.responses.stream import EVENTS
from router.web.responses.views import Responses

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
BALL = "a red ball rolls to the right"
STOPS = "A device that works on it stops at its next step."
FROM_IMAGE = {
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
}
# OpenAPI 3.1 has no word for the schema of each event
STREAMED = {EVENTS: {"description": "events, then `data: [DONE]`", "x-each": {"$ref": "#/components/schemas/Event"}}}
LOOKED_AT = {200: Reply("the response, or its events", {JSON: Response, **STREAMED})}

OPERATIONS = (
    Operation(
        "POST",
        "/v1/responses",
        Responses.create,
        "createResponse",
        "Responses",
        "Make a video",
        LOOKED_AT,
        about=(
            "Waits for the video, unless `background` or `stream` is set. After 30 silent seconds the answer begins "
            "with white space, and a failure from then on is a 200 whose `status` is `failed`. A caller who goes away, "
            "also by half-closing the connection, cancels the job, unless `background`, `store` or a key says that it "
            "is to be kept."
        ),
        parameters=(KEY,),
        bodies={JSON: SCHEMA},
        problems=(*why.MAKING, *why.WAITING, *why.FAILING, why.NOT_FOUND),
        examples=(
            Example(
                "from text", {"input": BALL, "seed": 7, "provider_options": {"video": {"num_frames": 5, "steps": 8}}}
            ),
            Example("from an image and text", FROM_IMAGE),
            Example("in the background", {"input": BALL, "background": True}),
            Example("as a stream", {"input": BALL, "stream": True}, flags="-N"),
            Example("an image", {"input": BALL, "provider_options": {"image": {}}}),
        ),
        links=("retrieveResponse", "deleteResponse", "cancelResponse", "listInputItems"),
    ),
    Operation(
        "GET",
        "/v1/responses/{response_id}",
        Responses.retrieve,
        "retrieveResponse",
        "Responses",
        "Look at a response",
        LOOKED_AT,
        parameters=(STREAM, STARTING_AFTER),
        problems=(why.BAD_VALUE, why.NOT_FOUND, *why.WAITING),
        examples=(Example("how far is it?"), Example("its events", query="?stream=true", flags="-N")),
    ),
    Operation(
        "DELETE",
        "/v1/responses/{response_id}",
        Responses.delete,
        "deleteResponse",
        "Responses",
        "Forget a response and its files",
        ok("it is gone", DeletedResponse),
        about="In any state; a device that works on it stops at its next step.",
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("delete"),),
    ),
    Operation(
        "POST",
        "/v1/responses/{response_id}/cancel",
        Responses.cancel,
        "cancelResponse",
        "Responses",
        "Cancel a response",
        ok("the response; a finished one as it is", Response),
        about="A device that works on it stops at its next step.",
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("cancel"),),
    ),
    Operation(
        "GET",
        "/v1/responses/{response_id}/input_items",
        Responses.input_items,
        "listInputItems",
        "Responses",
        "Look at what a response was made from",
        ok("its items", InputItems),
        parameters=(LIMIT, ORDER, AFTER, INCLUDE),
        problems=(why.BAD_VALUE, why.NOT_FOUND),
        examples=(Example("the prompt and the images"),),
    ),
)
