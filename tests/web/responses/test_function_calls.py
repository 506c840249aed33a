"""Function tools: agents get a call, requests for a video get a video."""

import json
from typing import Any

import pytest
from conftest import data_url, leftovers, png, with_image
from flask.testing import FlaskClient
from support.sse import kinds, numbers, parse

from router.engine.worker import Worker
from router.system import System

PLACE = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
WEATHER = {"type": "function", "name": "get_weather", "description": "now", "parameters": PLACE}
OTHER = {"type": "function", "name": "stop"}
SEARCH = {"type": "web_search"}
PROMPT = "What is the weather in San Francisco?"
OUTPUT = [
    {"role": "user", "content": PROMPT},
    {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "sunny"},
]
CALLED = {
    "auto": ({}, "get_weather"),
    "auto, said": ({"tool_choice": "auto"}, "get_weather"),
    "required": ({"tool_choice": "required"}, "get_weather"),
    "required, with a video option": (
        {"tool_choice": "required", "provider_options": {"video": {"steps": 4}}},
        "get_weather",
    ),
    "required, after an output": ({"tool_choice": "required", "input": OUTPUT}, "get_weather"),
    "named": ({"tool_choice": {"type": "function", "name": "stop"}}, "stop"),
    "allowed": (
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "stop"}]}},
        "stop",
    ),
    "after an output, asked again": ({"input": [*OUTPUT, {"role": "user", "content": "and now?"}]}, "get_weather"),
    "beside tools of other types": ({"tools": [SEARCH, OTHER]}, "stop"),
    "in the background": ({"background": True}, "get_weather"),
}
NOT_CALLED = {
    "none": {"tool_choice": "none"},
    "auto with a video option": {"provider_options": {"video": {"steps": 4}}},
    "auto with an image option": {"provider_options": {"image": {}}},
    "auto after an output": {"input": OUTPUT},
    "no tools": {"tools": []},
    "null": {"tools": None, "tool_choice": None},
    "tools of other types": {"tools": [SEARCH], "tool_choice": "auto"},
    "a choice of another type": {"tools": [SEARCH], "tool_choice": {"type": "web_search"}},
    "nothing allowed": {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
}
REFUSED = {
    "a choice that is none": ({"tool_choice": "perhaps"}, "tool_choice"),
    "a choice that is a number": ({"tool_choice": 3}, "tool_choice"),
    "a choice that is a list": ({"tool_choice": ["auto"]}, "tool_choice"),
    "required without tools": ({"tool_choice": "required", "tools": []}, "tool_choice"),
    "a name that no tool has": ({"tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
    "a name that is a list": ({"tool_choice": {"type": "function", "name": ["x"]}}, "tool_choice"),
    "allowed without a list": ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice"),
    "tools that are an object": ({"tools": {}}, "tools"),
    "a tool that is text": ({"tools": ["x"]}, "tools[0]"),
    "a function without a name": ({"tools": [SEARCH, {"type": "function"}]}, "tools[1].name"),
    "a name that is a number": ({"tools": [{"type": "function", "name": 3}]}, "tools[0].name"),
    "parameters that are text": ({"tools": [{**OTHER, "parameters": "x"}]}, "tools[0].parameters"),
    "strict that is text": ({"tools": [{**OTHER, "strict": "yes"}]}, "tools[0].strict"),
}


def ask(client: FlaskClient, **body: Any) -> Any:
    return client.post("/v1/responses", json={"model": "text", "input": PROMPT, "tools": [WEATHER, OTHER], **body})


@pytest.mark.parametrize(("body", "name"), CALLED.values(), ids=CALLED.keys())
def test_an_agent_gets_a_call_at_once_and_no_engine_works(
    client: FlaskClient, system: System, body: dict, name: str
) -> None:
    answer = ask(client, **body).get_json()

    (item,) = answer["output"]
    assert answer["status"] == item["status"] == "completed"
    assert (item["type"], item["name"]) == ("function_call", name)
    assert item["id"].startswith("fc_")
    assert item["call_id"].startswith("call_")
    assert isinstance(json.loads(item["arguments"]), dict)
    assert system.jobs.newest() == 0


@pytest.mark.parametrize("body", NOT_CALLED.values(), ids=NOT_CALLED.keys())
def test_whoever_asks_for_a_video_gets_one(client: FlaskClient, worker: Worker, body: dict) -> None:
    answer = ask(client, **body).get_json()

    assert answer["output"][0]["type"] == "message"


@pytest.mark.parametrize(("body", "param"), REFUSED.values(), ids=REFUSED.keys())
def test_tools_that_make_no_sense_are_refused(client: FlaskClient, system: System, body: dict, param: str) -> None:
    answer = ask(client, **body)

    assert (answer.status_code, answer.get_json()["error"]["param"]) == (400, param)
    assert system.jobs.newest() == 0


def test_the_prompt_fills_the_text_that_is_required(client: FlaskClient) -> None:
    item = ask(client).get_json()["output"][0]

    assert json.loads(item["arguments"]) == {"location": PROMPT}


def test_arguments_fit_their_schema() -> None:
    from router.web.responses.tools import find_call

    properties = {
        "text": {"type": "string"},
        "maybe": {"type": ["string", "null"]},
        "number": {"type": "integer", "minimum": 3},
        "plain": {"type": "number"},
        "truth": {"type": "boolean"},
        "list": {"type": "array"},
        "one_of": {"enum": ["b", "c"]},
        "usual": {"type": "string", "default": "d"},
        "fixed": {"const": 7},
        "any": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "deep": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "free": {"type": "string"},
    }
    schema = {"type": "object", "properties": properties, "required": [name for name in properties if name != "free"]}
    tool = {"name": "f", "parameters": schema}
    call = find_call([tool], "auto", "hello", wants_media=False, answered=False)

    assert call is not None
    assert json.loads(call.arguments) == {
        "text": "hello",
        "maybe": "hello",
        "number": 3,
        "plain": 0,
        "truth": False,
        "list": [],
        "one_of": "b",
        "usual": "d",
        "fixed": 7,
        "any": 0,
        "deep": {"text": "hello"},
    }


@pytest.mark.parametrize(
    "parameters",
    [None, {}, {"required": "x"}, {"required": ["a"]}, {"required": [3]}, {"properties": [], "required": ["a"]},
     {"type": []}, {"enum": []}, {"type": {}}, {"type": "object", "properties": {"a": 3}, "required": ["a"]}],
)  # fmt: skip
def test_a_schema_of_any_kind_gives_arguments(client: FlaskClient, parameters: Any) -> None:
    item = ask(client, tools=[{**OTHER, "parameters": parameters}]).get_json()["output"][0]

    assert isinstance(json.loads(item["arguments"]), dict)


def test_the_answer_is_not_kept_and_says_so(client: FlaskClient) -> None:
    answer = ask(client, store=True).get_json()

    assert answer["store"] is False
    assert client.get(f"/v1/responses/{answer['id']}").status_code == 404


def test_a_call_streams_its_arguments(client: FlaskClient, system: System) -> None:
    data = ask(client, stream=True).data
    events = parse(data)

    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert numbers(events) == list(range(7))
    assert events[2]["item"]["arguments"] == ""
    assert events[3]["delta"] == events[4]["arguments"] == events[5]["item"]["arguments"]
    assert events[6]["response"]["output"] == [events[5]["item"]]
    assert data.endswith(b"\n\ndata: [DONE]\n\n")
    assert system.jobs.newest() == 0


def test_a_mismatch_is_a_mismatch_also_with_tools(client: FlaskClient, system: System) -> None:
    answer = ask(client, input=with_image("a", data_url(png())))
    unknown = ask(client, model="none")

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "modality_mismatch")
    assert unknown.status_code == 404
    assert leftovers(system) == []
