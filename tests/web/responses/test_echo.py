"""Keys without effect on a video: ignored, or repeated by the answer's schema."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from router.system import System

TOOL = {"type": "function", "name": "f"}
WHOLE_TOOL = {**TOOL, "description": None, "parameters": None, "strict": None}
JSON_SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
ECHOED = {
    "instructions": ({"instructions": "in oil"}, {"instructions": "in oil"}),
    "instructions that are items": ({"instructions": [{"role": "system", "content": "x"}]}, {"instructions": None}),
    "metadata": ({"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
    "store": ({"store": False}, {"store": False}),
    "no store": ({}, {"store": True}),
    "a tool": ({"tools": [TOOL], "tool_choice": "none"}, {"tools": [WHOLE_TOOL], "tool_choice": "none"}),
    "a hosted tool": ({"tools": [{"type": "web_search"}]}, {"tools": [], "tool_choice": "auto"}),
    "temperature": ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
    "penalties": ({"presence_penalty": -2, "frequency_penalty": 2}, {"presence_penalty": -2, "frequency_penalty": 2}),
    "limits": ({"max_output_tokens": 16, "max_tool_calls": 1}, {"max_output_tokens": 16, "max_tool_calls": 1}),
    "truncation": ({"truncation": "auto", "top_logprobs": 5}, {"truncation": "auto", "top_logprobs": 5}),
    "keys": (
        {"safety_identifier": "s", "prompt_cache_key": "k", "service_tier": "flex", "previous_response_id": "resp_0"},
        {"safety_identifier": "s", "prompt_cache_key": "k", "service_tier": "flex", "previous_response_id": "resp_0"},
    ),
    "parallel calls": ({"parallel_tool_calls": True}, {"parallel_tool_calls": True}),
    "reasoning": ({"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low", "summary": None}}),
    "text": ({"text": {"verbosity": "low"}}, {"text": {"format": {"type": "text"}, "verbosity": "low"}}),
    "a format": (
        {"text": {"format": JSON_SCHEMA}},
        {"text": {"format": {**JSON_SCHEMA, "description": None, "strict": False}}},
    ),
    "nulls": (
        {"temperature": None, "tools": None, "text": None, "reasoning": None, "metadata": None, "stream": None},
        {"temperature": 1, "tools": [], "text": {"format": {"type": "text"}}, "reasoning": None, "metadata": {}},
    ),
}
REFUSED = {
    "a temperature that is text": ({"temperature": "hot"}, "temperature"),
    "a temperature of 3": ({"temperature": 3}, "temperature"),
    "logprobs of 21": ({"top_logprobs": 21}, "top_logprobs"),
    "no tokens": ({"max_output_tokens": 0}, "max_output_tokens"),
    "text that is text": ({"text": "plain"}, "text"),
    "a format of another type": ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    "reasoning that is text": ({"reasoning": "hard"}, "reasoning"),
    "another truncation": ({"truncation": "some"}, "truncation"),
    "a control character": ({"service_tier": "\0"}, "service_tier"),
    "17 pairs of metadata": ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
    "a key of 65": ({"metadata": {"k" * 65: "x"}}, f"metadata.{'k' * 65}"),
    "a value of 513": ({"metadata": {"k": "x" * 513}}, "metadata.k"),
    "tools of a megabyte": ({"tools": [{**TOOL, "description": "x" * 2**20}], "tool_choice": "none"}, "tools"),
    "a tool 150 deep": ({"tools": [{**TOOL, "parameters": {"a": 0}}], "tool_choice": "none"}, "tools"),
}
IGNORED: dict[str, Any] = {
    "conversation": "c",
    "context_management": [],
    "include": ["x"],
    "moderation": {},
    "prompt": {"id": "p"},
    "stream_options": {"include_obfuscation": False},
    "user": 3,
    "whatever": [[]],
}


@pytest.mark.parametrize(("sent", "back"), ECHOED.values(), ids=ECHOED.keys())
def test_what_was_sent_comes_back_whole(client: FlaskClient, sent: dict, back: dict) -> None:
    made = client.post("/v1/responses", json={"model": "text", "input": "a", "background": True, **sent}).get_json()
    found = client.get(f"/v1/responses/{made['id']}").get_json()

    assert {name: found[name] for name in back} == back


@pytest.mark.parametrize(("sent", "param"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_repeated_is_refused(client: FlaskClient, system: System, sent: dict, param: str) -> None:
    if param == "tools" and "parameters" in sent["tools"][0]:
        deep: dict[str, Any] = {}
        for _ in range(150):
            deep = {"a": deep}
        sent = {**sent, "tools": [{**TOOL, "parameters": deep}]}
    answer = client.post("/v1/responses", json={"model": "text", "input": "a", **sent})

    assert (answer.status_code, answer.get_json()["error"]["param"]) == (400, param)
    assert system.jobs.newest() == 0


def test_unknown_keys_are_read_over(client: FlaskClient) -> None:
    answer = client.post("/v1/responses", json={"model": "text", "input": "a", "background": True, **IGNORED})

    assert answer.status_code == 200


def test_a_service_tier_moves_a_job_before_others_and_after_them(client: FlaskClient, system: System) -> None:
    def ask(tier: str | None) -> int:
        body = {"model": "text", "input": "a", "background": True, "service_tier": tier}
        answer = client.post("/v1/responses", json=body).get_json()
        job = system.jobs.get(answer["id"].removeprefix("resp_"), "local")
        assert job is not None
        return job.priority

    assert [ask(tier) for tier in ("priority", "flex", "default", "auto", None)] == [1, -1, 0, 0, 0]
