"""The views of `/v1/responses`."""

from contextlib import ExitStack
from functools import partial
from typing import Any

from flask import Response, jsonify, request

from router.intake.intake import Intake
from router.system import System
from router.values import Job
from router.web.access import caller, idempotency_key, owner, share
from router.web.http import query
from router.web.http.body import read_json
from router.web.jobs import find, forget, job_id, submit
from router.web.openapi import problems as why
from router.web.openapi.examples import CIRCLE, FROM_IMAGE
from router.web.openapi.operations import JSON, Example, Reply, Routes, ok
from router.web.openapi.parameters import AFTER, INCLUDE, KEY, LIMIT, ORDER, STARTING_AFTER, STREAM
from router.web.responses import answers
from router.web.responses.parse import SCHEMA, ParsedRequest, read_response_request
from router.web.responses.render import IMAGES, Rendering, input_items
from router.web.responses.stream import EVENTS, stream
from router.web.responses.tools import Call, FunctionCallResponse
from router.web.waiting.disconnects import cancel
from router.web.waiting.outcome import Outcome, outcome
from router.web.waiting.waiters import Waiters
from router.web.waiting.watch import Watch
from router.web.waiting.written import UNBUFFERED, JsonWriter, written

ROUTES = Routes("Responses")
DELETED = answers.DeletedResponse()
# OpenAPI 3.1 has no word for the schema of each event
STREAMED = {"description": "events, then `data: [DONE]`", "x-each": {"$ref": "#/components/schemas/Event"}}
FOLLOWED = {200: Reply("the response, or its events", {JSON: answers.Response, EVENTS: STREAMED})}


class Responses:
    def __init__(self, system: System, intake: Intake, waiting: Waiters, rendering: Rendering) -> None:
        self._system = system
        self._settings = system.settings
        self._intake = intake
        self._waiting = waiting
        self._rendering = rendering
        self._writer = JsonWriter(system.settings)

    @ROUTES.add(
        "POST /v1/responses",
        FOLLOWED,
        parameters=(KEY,),
        bodies={JSON: SCHEMA},
        problems=(*why.MAKING, *why.WAITING, *why.FAILING, why.NOT_FOUND),
        examples=(
            Example(
                "from text", {"input": CIRCLE, "seed": 7, "provider_options": {"video": {"num_frames": 5, "steps": 8}}}
            ),
            Example("from an image and text", FROM_IMAGE),
            Example("in the background", {"input": CIRCLE, "background": True}),
            Example("as a stream", {"input": CIRCLE, "stream": True}, flags="-N"),
            Example("an image", {"input": CIRCLE, "provider_options": {"image": {}}}),
        ),
        links=("retrieveResponse", "deleteResponse", "cancelResponse", "listInputItems"),
    )
    def create_response(self) -> Response:
        """Make a video.

        Waits for the video, unless `background` or `stream` is set. After 30 silent seconds the answer begins with
        white space, and a failure from then on is a 200 whose `status` is `failed`. A caller who goes away, also by
        half-closing the connection, cancels the job, unless `background`, `store` or a key says that it is to be kept.
        """
        keyed = idempotency_key() is not None
        parsed = read_response_request(read_json(self._settings.max_body_bytes), keyed=keyed)
        if parsed.call:
            return self._call(parsed, parsed.call)
        if parsed.request.presentation.background and not parsed.stream:
            return self._answer(submit(self._intake, parsed.request))
        with ExitStack() as held:
            held.enter_context(self._waiting.slot())
            job, streamed = submit(self._intake, parsed.request), parsed.stream
            del parsed  # its images would be kept for as long as somebody waits
            watch = self._watch(job, held)
            return self._stream(watch, held) if streamed else self._wait(watch, held)

    @ROUTES.add(
        "GET /v1/responses/{response_id}",
        FOLLOWED,
        parameters=(STREAM, STARTING_AFTER),
        problems=(why.BAD_VALUE, why.NOT_FOUND, *why.WAITING),
        examples=(Example("how far is it?"), Example("its events", query="?stream=true", flags="-N")),
    )
    def retrieve_response(self, response_id: str) -> Response:
        """Look at a response."""
        job = self._find(response_id)
        streamed, after = query.flag("stream"), query.number("starting_after", default=-1)
        if request.method == "HEAD" or not streamed:
            return self._answer(job)
        with ExitStack() as held:
            held.enter_context(self._waiting.slot())
            return self._stream(self._watch(job, held), held, after=after)

    @ROUTES.add(
        "DELETE /v1/responses/{response_id}",
        ok("it is gone", answers.DeletedResponse),
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("delete"),),
    )
    def delete_response(self, response_id: str) -> Response:
        """Forget a response and its files.

        In any state; a device that works on it stops at its next step.
        """
        forget(self._system, response_id, "resp")
        return jsonify(DELETED.dump({"id": response_id}))

    @ROUTES.add(
        "POST /v1/responses/{response_id}/cancel",
        ok("the response; a finished one as it is", answers.Response),
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("cancel"),),
    )
    def cancel_response(self, response_id: str) -> Response:
        """Cancel a response.

        A device that works on it stops at its next step.
        """
        return self._answer(cancel(self._system, job_id(response_id, "resp"), owner()) or self._find(response_id))

    @ROUTES.add(
        "GET /v1/responses/{response_id}/input_items",
        ok("its items", answers.InputItems),
        parameters=(LIMIT, ORDER, AFTER, INCLUDE),
        problems=(why.BAD_VALUE, why.NOT_FOUND),
        examples=(Example("the prompt and the images"),),
    )
    def list_input_items(self, response_id: str) -> Response:
        """Look at what a response was made from."""
        job, inline = self._find(response_id), IMAGES in query.csv_param("include")
        return jsonify(query.page_of(input_items(job, self._system.artifacts, inline=inline)))

    def _watch(self, job: Job, held: ExitStack) -> Watch:
        return held.enter_context(self._waiting.watch(job, request.environ.get("gunicorn.socket")))

    def _wait(self, watch: Watch, held: ExitStack) -> Response:
        """Return the finished response; after a silence begin it with white space."""
        ended = outcome(watch, self._waiting, f"/v1/responses/resp_{watch.job.id}")
        late = partial(self._rendering.ended, watch)
        return self._writer.answer(watch, partial(self._finished, ended), held, late)

    def _finished(self, ended: Outcome) -> dict[str, Any]:
        ended.check()
        return self._rendering.response(ended.watch.job)

    def _stream(self, watch: Watch, held: ExitStack, after: int = -1) -> Response:
        body = stream(watch, self._rendering, after=after, beat=self._settings.heartbeat_seconds)
        return written(body, watch, EVENTS, held.pop_all().close)

    def _call(self, parsed: ParsedRequest, call: Call) -> Response:
        """Answer with a function call, after the checks of a video."""
        model, effective = self._intake.resolve(parsed.request, share=share())
        calling = FunctionCallResponse(call, parsed.request, model, effective.task, caller().owner)
        if parsed.stream:
            return Response(calling.events(), mimetype=EVENTS, headers=UNBUFFERED)
        return jsonify(calling.response())

    def _find(self, response_id: str) -> Job:
        return find(self._system, response_id, "resp")

    def _answer(self, job: Job) -> Response:
        return jsonify(self._rendering.response(job))
