"""Function tools: their definitions, the choice of one, and its call.

No model here reasons. But whoever offers functions and says nothing about video is an agent that means to
go on from a call of one, so it gets a call and no video that nobody asked for.
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from registry import ModelSpec
from router.errors import InvalidRequest
from router.request import Request
from router.values import Job, Status, Task
from router.web.answers import UNFINISHED
from router.web.http.fields import shown
from router.web.responses.answers import FunctionCall, Response
from router.web.responses.schema import MOST_TOOLS, Tool
from router.web.responses.stream import DONE, event

BASE = Response(exclude=("provider_options", "numerics", "warnings", *UNFINISHED))  # the 31 keys of every response
FUNCTION_CALL, TOOL = FunctionCall(), Tool()
CHOICES = ("none", "auto", "required")
Offered = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Call:
    """The call of a function: `arguments` are a JSON object as text."""

    name: str
    arguments: str


def read_tools(offered: Offered) -> list[dict[str, Any]]:
    """Return the function tools, each with all its keys; other types are dropped."""
    found = []
    for index, tool in enumerate(offered):
        if tool.get("type", "function") == "function":
            if not tool.get("name"):
                param = f"tools[{index}].name"
                raise InvalidRequest(f"{param} must be the name of a function", param=param)
            found.append(TOOL.dump(tool))
    return found


def read_choice(value: Any, tools: Offered) -> Any:
    """Return `tool_choice` as the answer repeats it; hosted tools count as auto.

    Raises `InvalidRequest` for what is no choice, or for one that the tools do not allow.
    """
    names = [tool["name"] for tool in tools]
    if value is None:
        return "auto"
    if isinstance(value, Mapping):
        if value.get("type") == "allowed_tools":
            return _allowed(value, names)
        return _named(value, names) if value.get("type") == "function" else "auto"
    if value not in CHOICES:
        raise _bad(f"must be one of {', '.join(CHOICES)}, or an object, got {shown(value)}")
    if value == "required" and not names:
        raise _bad("is required, so tools must have a function, got none")
    return value


def find_call(tools: Offered, choice: Any, prompt: str, *, wants_media: bool, answered: bool) -> Call | None:
    """Return the call of the named function, else of the first allowed one.

    None where the caller leaves the choice and asks for video (`wants_media`), or comes back with the output
    of a function (`answered`).
    """
    mode, names = _mode(choice)
    if mode == "none" or (mode == "auto" and (wants_media or answered)):
        return None
    for tool in tools:
        if names is None or tool["name"] in names:
            return Call(tool["name"], json.dumps(_fill(tool["parameters"], prompt)))
    return None


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
        events: tuple[tuple[str, Mapping[str, Any]], ...] = (
            ("response.created", begun),
            ("response.in_progress", begun),
            ("response.output_item.added", {"output_index": 0, "item": self._item("in_progress", "")}),
            ("response.function_call_arguments.delta", {**spot, "delta": self._call.arguments}),
            ("response.function_call_arguments.done", {**spot, **vars(self._call)}),
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


def _allowed(value: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    offered, mode = value.get("tools"), value.get("mode") or "auto"
    if mode not in ("auto", "required") or not isinstance(offered, list):
        raise _bad("of type allowed_tools must have a list of tools, and auto or required as its mode")
    if len(offered) > MOST_TOOLS:
        raise _bad(f"may allow {MOST_TOOLS} tools, got {len(offered):,}")
    functions = [tool for tool in offered if isinstance(tool, Mapping) and tool.get("type") == "function"]
    return {"type": "allowed_tools", "tools": [_named(tool, names) for tool in functions], "mode": mode}


def _named(tool: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the choice of a function; raise `InvalidRequest` for one that was not offered."""
    if tool.get("name") not in names:
        raise _bad(f"must name one of the tools, got {shown(tool.get('name'))}")
    return {"type": "function", "name": tool["name"]}


def _mode(choice: Any) -> tuple[str, tuple[str, ...] | None]:
    """Return none, auto or required, and the allowed names; None allows all."""
    if isinstance(choice, str):
        return choice, None
    if choice["type"] == "function":
        return "required", (choice["name"],)
    return choice["mode"], tuple(tool["name"] for tool in choice["tools"])


def _fill(schema: Any, prompt: str) -> Any:
    """Return a simple value of a JSON Schema; each required text is the prompt."""
    if not isinstance(schema, Mapping):
        return {}
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "anyOf", "oneOf"):
        if isinstance(options := schema.get(key), list) and options:
            return options[0] if key == "enum" else _fill(options[0], prompt)
    return _of_type(schema, prompt)


def _of_type(schema: Mapping[str, Any], prompt: str) -> Any:
    kind, least = schema.get("type"), schema.get("minimum")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind in ("integer", "number"):
        return least if isinstance(least, int | float) else 0
    if kind == "string":
        return prompt
    if kind in ("array", "boolean", "null"):
        return {"array": [], "boolean": False, "null": None}[kind]
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, Mapping) or not isinstance(required, list):
        return {}
    return {name: _fill(properties.get(name), prompt) for name in required if isinstance(name, str)}


def _bad(reason: str) -> InvalidRequest:
    return InvalidRequest(f"tool_choice {reason}", param="tool_choice")
