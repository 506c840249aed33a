"""Pydantic AI: an agent's output is a video's URL, options and all."""

import asyncio
import sys
from importlib.metadata import version
from typing import Any

from pydantic_ai import Agent, BinaryContent
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from seen import BASE, download, refusal, report

with open(sys.argv[2], "rb") as file:
    PICTURE = [BinaryContent(file.read(), media_type="image/png"), "a red ball"]
OPTIONS = {"provider_options": {"video": {"steps": 3, "num_frames": 9}}, "seed": 7, "text_output": True}


def agent(model: str = "wan-nano", **options: Any) -> Agent:
    return Agent(OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=BASE, api_key="none")), **options)


def ask(prompt: Any = "a red ball", body: dict[str, Any] | None = None, model: str = "wan-nano", **options: Any) -> Any:
    return agent(model, **options).run_sync(prompt, model_settings={"extra_body": body} if body else None)


def facts(result: Any) -> dict[str, Any]:
    return {"id": result.response.provider_response_id, "file": download(result.output)}


def created() -> dict[str, Any]:
    return facts(ask())


def with_options() -> dict[str, Any]:
    return facts(ask(body=OPTIONS))


def with_an_image() -> dict[str, Any]:
    return facts(ask(PICTURE, OPTIONS))


def streamed() -> dict[str, Any]:
    async def follow() -> tuple[str, str]:
        async with agent("slow").run_stream("a red ball", model_settings={"extra_body": OPTIONS}) as result:
            text = await result.get_output()
            return text, result.response.provider_response_id

    text, identifier = asyncio.run(follow())
    return {"id": identifier, "file": download(text)}


def called() -> dict[str, Any]:
    places: list[str] = []

    def look(place: str) -> str:
        """Look at a place."""
        places.append(place)
        return f"{place} is blue"

    return {**facts(ask("the sea", tools=[look])), "places": places}


def refused() -> dict[str, Any]:
    steps = {"provider_options": {"video": {"steps": 61}}}
    return {
        "mismatch": refusal(lambda: ask(model="wan-nano-i2v")),
        "mismatch_image": refusal(lambda: ask(PICTURE, model="wan-nano-t2v")),
        "limit": refusal(lambda: ask(body=steps)),
        "no_model": refusal(lambda: ask(model="nobody")),
    }


report(version("pydantic-ai-slim"), [created, with_options, with_an_image, streamed, called, refused])
