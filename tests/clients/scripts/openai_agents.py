"""The Agents SDK: an agent's final output is a video's URL, options and all."""

import asyncio
import base64
import json
import sys
from importlib.metadata import version
from typing import Any

from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
from seen import BASE, download, refusal, report

set_tracing_disabled(True)
with open(sys.argv[2], "rb") as file:
    DATA_URL = f"data:image/png;base64,{base64.b64encode(file.read()).decode()}"
PICTURE = [
    {"role": "user", "content": [{"type": "input_image", "image_url": DATA_URL}, {"type": "input_text", "text": "a"}]}
]
OPTIONS = {"provider_options": {"video": {"steps": 3, "num_frames": 9}}, "seed": 7, "text_output": True}


@function_tool
def look(place: str) -> str:
    """Look at a place."""
    return f"{place} is blue"


def agent(model: str = "wan-nano", body: dict[str, Any] | None = None, **options: Any) -> Agent:
    client = AsyncOpenAI(base_url=BASE, api_key="none", max_retries=0)
    settings = ModelSettings(extra_body=body)
    return Agent(
        name="film", model=OpenAIResponsesModel(model, openai_client=client), model_settings=settings, **options
    )


def facts(result: Any) -> dict[str, Any]:
    return {"ids": [one.response_id for one in result.raw_responses], "file": download(result.final_output)}


def created() -> dict[str, Any]:
    return facts(Runner.run_sync(agent(instructions="in slow motion"), "a red ball"))


def with_options() -> dict[str, Any]:
    return facts(Runner.run_sync(agent(body=OPTIONS), "a red ball"))


def with_an_image() -> dict[str, Any]:
    return facts(Runner.run_sync(agent(body=OPTIONS), PICTURE))


def streamed() -> dict[str, Any]:
    async def follow() -> Any:
        result = Runner.run_streamed(agent("slow", body=OPTIONS), "a red ball")
        async for _ in result.stream_events():
            pass
        return result

    return facts(asyncio.run(follow()))


def called() -> dict[str, Any]:
    result = Runner.run_sync(agent(tools=[look]), "the sea")
    calls = [item.raw_item for item in result.new_items if item.type == "tool_call_item"]
    return {**facts(result), "calls": [[call.name, json.loads(call.arguments)] for call in calls]}


def refused() -> dict[str, Any]:
    steps = {"provider_options": {"video": {"steps": 61}}}
    return {
        "mismatch": refusal(lambda: Runner.run_sync(agent("wan-nano-i2v"), "a red ball")),
        "mismatch_image": refusal(lambda: Runner.run_sync(agent("wan-nano-t2v"), PICTURE)),
        "limit": refusal(lambda: Runner.run_sync(agent(body=steps), "a red ball")),
        "no_model": refusal(lambda: Runner.run_sync(agent("nobody"), "a red ball")),
    }


report(version("openai-agents"), [created, with_options, with_an_image, streamed, called, refused])
