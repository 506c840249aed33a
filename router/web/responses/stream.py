"""Event streams of responses."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from router.values import Job, Status
from router.web.answer_fields import Answer, Either, constant, integer, string
from router.web.responses import answers
from router.web.responses.render import Rendering
from router.web.waiting.watch import Watch

EVENTS = "text/event-stream"
EVENTS_PER_VERSION = 16  # event numbers of one version of a job
CREATED, QUEUED = 0, 1  # before all of those
LAST = 15
FINAL = {
    Status.COMPLETED: "response.completed",
    Status.FAILED: "response.failed",
    Status.CANCELLED: "response.incomplete",
}
DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": still here\n\n"
Content = Mapping[str, Any]
Planned = tuple[int, str, Callable[[], Content]]  # an event's number, its type, and what makes the rest of it


class EmptyText(Answer):
    """The part of a stream before its text has come."""

    type = constant("its kind", "output_text")
    text = string("empty", lambda _: "")
    annotations = answers.empty_list()
    logprobs = answers.empty_list()


class Event(Answer):
    """One event of a stream: its `data:` line.

    `event:` repeats the type. After the last one comes `data: [DONE]`.
    """

    type = string("such as `response.in_progress`", pattern="^response[.]")
    sequence_number = integer("grows, with gaps: what `starting_after` refers to")
    response = Either("the response as it is now", answers.Response, sometimes=True)
    item_id = string("the item that the event is about", sometimes=True)
    output_index = integer("0", sometimes=True)
    content_index = integer("the part that the event is about", sometimes=True)
    item = Either("the item", answers.Message, answers.FunctionCall, sometimes=True)
    part = Either("the part", answers.OutputVideo, answers.OutputImage, answers.OutputText, EmptyText, sometimes=True)
    delta = string("what is added to the text or the arguments", sometimes=True)
    text = string("the whole text", sometimes=True)
    name = string("the function's name", sometimes=True)
    arguments = string("the whole arguments", sometimes=True)
    logprobs = answers.empty_list(sometimes=True)


EMPTY = EmptyText().dump({})


def stream(watch: Watch, rendering: Rendering, *, after: int, beat: float) -> Iterator[bytes]:
    """Yield the events numbered above `after`, and a comment per `beat` silent seconds.

    The last line is `data: [DONE]`. Where it is missing the job goes on, and so can the reader: this process
    stops, or the longest wait is over.
    """
    last = after
    if after >= 0:  # the next event may take its time: say now that there will be one
        yield HEARTBEAT
    for job in watch.changes(beat):
        if job is None:
            yield HEARTBEAT
            continue
        for number, kind, content in _events(job, rendering, is_first=last < EVENTS_PER_VERSION):
            if number > last:
                last = number
                yield event(number, kind, content())
    if watch.deleted:
        yield event(last + 1, "response.incomplete", {"response": rendering.deleted(watch.job)})
    over = watch.deleted or watch.group.finished
    yield DONE if over else b": to be continued at GET /v1/responses/resp_%b?stream=true\n\n" % watch.job.id.encode()


def _events(job: Job, rendering: Rendering, *, is_first: bool) -> Iterator[Planned]:
    """Yield the events of a stream up to this state of its job.

    `is_first` says that the reader has seen no state of the running job yet.
    A number comes from the version of the job that the event is about, so that every process gives an event
    the same one, and a reader can go on anywhere after the last that it has. Numbers leave gaps: a version
    that the reader was too slow for is never sent.
    """
    base = job.version * EVENTS_PER_VERSION

    def snapshot(shown: Job) -> Callable[[], Content]:
        return lambda: {"response": rendering.response(shown)}

    yield CREATED, "response.created", snapshot(_without_result(job, Status.QUEUED, progress=None))
    if job.status is Status.QUEUED:
        yield base if job.attempt else QUEUED, "response.queued", snapshot(job)
    elif job.status is Status.IN_PROGRESS:
        yield base, "response.in_progress", snapshot(job)
    else:
        # where nothing was seen in between, the output needs a beginning
        if job.artifact and is_first:
            yield base, "response.in_progress", snapshot(_without_result(job, Status.IN_PROGRESS))
        for item in rendering.output(job):
            for offset, (kind, content) in enumerate(_of_message(item), 1):
                yield base + offset, kind, partial(dict, content)
        yield base + LAST, FINAL[job.status], snapshot(job)


def event(number: int, kind: str, content: Content) -> bytes:
    """Return one server-sent event, to be written in one piece."""
    data = json.dumps({"type": kind, "sequence_number": number, **content}, separators=(",", ":"))
    # In one piece, as some readers lose an event that comes in two.
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _without_result(job: Job, status: Status, **more: Any) -> Job:
    """Return a job as it was before it ended."""
    return replace(job, status=status, artifact=None, failure=None, finished_at=None, **more)


def _of_message(item: Content) -> Iterator[tuple[str, Content]]:
    """Yield the events of a message with its parts; text has a delta."""
    yield "response.output_item.added", {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}}
    for index, part in enumerate(item["content"]):
        yield from _of_part(part, {"item_id": item["id"], "output_index": 0, "content_index": index})
    yield "response.output_item.done", {"output_index": 0, "item": item}


def _of_part(part: Content, spot: Content) -> Iterator[tuple[str, Content]]:
    is_text = part["type"] == "output_text"
    yield "response.content_part.added", {**spot, "part": EMPTY if is_text else part}
    if is_text:
        yield "response.output_text.delta", {**spot, "delta": part["text"], "logprobs": []}
        yield "response.output_text.done", {**spot, "text": part["text"], "logprobs": []}
    yield "response.content_part.done", {**spot, "part": part}
