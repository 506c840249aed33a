"""Responses that are a function call: made without an engine, not stored."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from registry import ModelSpec
from router.request import Request
from router.values import Job, Status, Task
from router.web.answers import UNFINISHED
from router.web.responses.answers import FunctionCall, Response
from router.web.responses.stream import DONE, event
from router.web.responses.tools import Call

BASE = Response(exclude=("provider_options", "warnings", *UNFINISHED))  # the 31 keys of every response
FUNCTION_CALL = FunctionCall()


class FunctionCallResponse:
    """One function call in place of a video."""

    def __init__(self, call: Call, request: Request, model: ModelSpec, task: Task, owner: str) -> None:
        now = time.time()
        shown = replace(request.presentation, store=False)
        self._call = call
        self._job = Job(uuid.uuid4().hex, owner, model.name, task, presentation=shown, created_at=now, finished_at=now)
        self._warnings = list(request.warnings)

    def response(self) -> dict[str, Any]:
        done = replace(self._job, status=Status.COMPLETED)
        item = self._item("completed", self._call.arguments)
        return {**BASE.dump(done), "output": [item], "warnings": self._warnings}

    def events(self) -> Iterator[bytes]:
        """Yield the stream of the same response: the arguments come as one delta."""
        begun = {"response": BASE.dump(replace(self._job, status=Status.IN_PROGRESS))}
        done = self._item("completed", self._call.arguments)
        spot = {"item_id": done["id"], "output_index": 0}
        whole = {"name": self._call.name, "arguments": self._call.arguments}
        events: tuple[tuple[str, Mapping[str, Any]], ...] = (
            ("response.created", begun),
            ("response.in_progress", begun),
            ("response.output_item.added", {"output_index": 0, "item": self._item("in_progress", "")}),
            ("response.function_call_arguments.delta", {**spot, "delta": self._call.arguments}),
            ("response.function_call_arguments.done", {**spot, **whole}),
            ("response.output_item.done", {"output_index": 0, "item": done}),
            ("response.completed", {"response": self.response()}),
        )
        for number, (kind, content) in enumerate(events):
            yield event(number, kind, content)
        yield DONE

    def _item(self, status: str, arguments: str) -> dict[str, Any]:
        name, job = self._call.name, self._job.id
        item = {"id": f"fc_{job}", "call_id": f"call_{job}", "name": name, "arguments": arguments, "status": status}
        return FUNCTION_CALL.dump(item)
