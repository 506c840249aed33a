"""LangChain's chat model over the Responses API: its text is a video's URL."""

import base64
import sys
import warnings
from importlib.metadata import version
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from seen import BASE, download, kind, refusal, report

warnings.simplefilter("ignore", DeprecationWarning)  # of openai 3.x: the Videos API is to be shut down upstream
with open(sys.argv[2], "rb") as file:
    DATA_URL = f"data:image/png;base64,{base64.b64encode(file.read()).decode()}"
PICTURE = HumanMessage([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": DATA_URL}}])


def chat(model: str = "wan-nano", **options: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=model, base_url=BASE, api_key="none", use_responses_api=True, max_retries=0, extra_body=options or None
    )


def with_video(**options: Any) -> ChatOpenAI:
    return chat(provider_options={"video": options})


@tool
def look(place: str) -> str:
    """Look at a place."""
    return f"{place} is blue"


def created() -> dict[str, Any]:
    message = chat().invoke([SystemMessage("in slow motion"), HumanMessage("a red ball")])
    return {
        "model": message.response_metadata["model_name"],
        "content": [part["type"] for part in message.content],
        "file": download(message.text),
    }


def with_an_image() -> dict[str, Any]:
    message = chat().invoke([PICTURE])
    return {"model": message.response_metadata["model_name"], "file": download(message.text)}


def with_options() -> dict[str, Any]:
    """Follow the id to the file: LangChain drops an `output_video` part."""
    message = with_video(steps=3).invoke("a red ball")
    video = chat().root_client.videos.download_content(message.id.replace("resp", "video"))
    return {"content": message.content, "file": kind(video.read())}


def with_text() -> dict[str, Any]:
    """Set options and read text all the same."""
    options = {"provider_options": {"video": {"steps": 3, "num_frames": 9}}, "seed": 7, "text_output": True}
    message = chat(**options).invoke([PICTURE])
    chunks = "".join(chunk.text for chunk in chat("slow", **options).stream("a red ball"))
    return {"id": message.id, "file": download(message.text), "streamed": download(chunks)}


def streamed() -> dict[str, Any]:
    chunks = list(chat("slow").stream("a red ball"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return {"chunks_with_text": sum(bool(chunk.text) for chunk in chunks), "file": download(whole.text)}


def called() -> dict[str, Any]:
    """Offer a function in three ways, then come back with what it said."""
    message = chat().bind_tools([look]).invoke("the sea")
    call = message.tool_calls[0]
    answer = ToolMessage(look.invoke(call["args"]), tool_call_id=call["id"])
    after = chat().bind_tools([look]).invoke([HumanMessage("the sea"), message, answer])
    chunks = list(chat().bind_tools([look], tool_choice="required").stream("the sea"))
    return {
        "auto": [call["name"], call["args"]],
        "named": [one["name"] for one in chat().bind_tools([look], tool_choice="look").invoke("the sea").tool_calls],
        "streamed": "".join(piece["args"] or "" for chunk in chunks for piece in chunk.tool_call_chunks),
        "after": download(after.text),
    }


def listed() -> dict[str, Any]:
    page = chat().root_client.videos.list(limit=2)
    return {"page": len(page.data), "has_more": page.has_more}


def deleted() -> dict[str, Any]:
    message, client = chat().invoke("a red ball"), chat().root_client
    client.responses.delete(message.id)
    return {"response": refusal(lambda: client.responses.retrieve(message.id))}


def failed() -> dict[str, Any]:
    return {
        "waited": refusal(lambda: chat("broken").invoke("a")),
        "streamed": refusal(lambda: list(chat("broken").stream("a"))),
    }


def refused() -> dict[str, Any]:
    return {
        "mismatch": refusal(lambda: chat("wan-nano-i2v").invoke("a red ball")),
        "mismatch_image": refusal(lambda: chat("wan-nano-t2v").invoke([PICTURE])),
        "mismatch_stream": refusal(lambda: list(chat("wan-nano-i2v").stream("a red ball"))),
        "bad_value": refusal(lambda: with_video(num_frames="five").invoke("a red ball")),
        "limit": refusal(lambda: with_video(steps=61).invoke("a red ball")),
        "no_model": refusal(lambda: chat("nobody").invoke("a red ball")),
    }


report(
    version("langchain-openai"),
    [created, with_an_image, with_options, with_text, streamed, called, listed, deleted, failed, refused],
)
