"""LiteLLM: its video calls, and the deletion that only its responses calls have."""

import base64
import sys
import time
from importlib.metadata import version
from typing import Any

import litellm
from litellm.responses.utils import ResponsesAPIRequestUtils
from litellm.types.videos.utils import decode_video_id_with_provider
from seen import BASE, download, kind, refusal, report

SERVER = {"api_base": BASE, "api_key": "none"}
FLAT = {"num_inference_steps": 3, "num_frames": 9, "seed": 7}
VIDEO = {"provider_options": {"video": {"steps": 3}}}


def generate(model: str, prompt: str, **options: Any) -> Any:
    return litellm.video_generation(model=f"openai/{model}", prompt=prompt, **options, **SERVER)


def finished(made: Any) -> Any:
    video = made
    while video.status in ("queued", "in_progress"):
        time.sleep(0.1)
        video = litellm.video_status(video_id=made.id, **SERVER)
    return video


def content(made: Any, **options: Any) -> str:
    return kind(litellm.video_content(video_id=made.id, **options, **SERVER))


def server_id(made: Any) -> str:
    """Return the server's own id from LiteLLM's, which adds provider and model."""
    return decode_video_id_with_provider(made.id)["video_id"]


def video() -> dict[str, Any]:
    made = generate("wan-nano", "a red ball", seconds="1", size="64x64", extra_body=VIDEO)
    ended = finished(made)
    with open(sys.argv[2], "rb") as file:
        image = finished(generate("wan-nano", "a red ball", input_reference=file, extra_body=FLAT))
    remix = finished(litellm.video_remix(video_id=made.id, prompt="a blue ball", **SERVER))
    return {
        "status": ended.status,
        "size": ended.size,
        "seconds": ended.seconds,
        "file": content(made),
        "thumbnail": content(made, variant="thumbnail"),
        "remixed": remix.remixed_from_video_id == server_id(made),
        "image_model": image.model,
        "ids": [server_id(made), server_id(image)],
    }


def listed() -> dict[str, Any]:
    page = litellm.video_list(limit=2, **SERVER)
    return {"page": len(page["data"]), "has_more": page["has_more"]}


def deleted() -> dict[str, Any]:
    made = generate("wan-nano", "a red ball")
    finished(made)
    response = server_id(made).replace("video", "resp")
    answer = litellm.delete_responses(response_id=response, custom_llm_provider="openai", **SERVER)
    return {
        "deleted": answer.deleted,
        "video": refusal(lambda: litellm.video_status(video_id=made.id, **SERVER)),
        "content": refusal(lambda: content(made)),
    }


def created() -> dict[str, Any]:
    response = litellm.responses(model="openai/wan-nano", input="a red ball", **SERVER)
    with_options = litellm.responses(model="openai/wan-nano", input="a red ball", extra_body=VIDEO, **SERVER)
    return {
        "model": response.model,
        "file": download(response.output[0].content[0].text),
        "file_of_options": download(with_options.output[0]["content"][0]["video_url"]),
    }


def with_text() -> dict[str, Any]:
    """Set options and read text all the same."""
    body = {"provider_options": {"video": {"steps": 3, "num_frames": 9}}, "seed": 7, "text_output": True}
    response = litellm.responses(model="openai/wan-nano", input="a red ball", extra_body=body, **SERVER)
    identifier = ResponsesAPIRequestUtils._decode_responses_api_response_id(response.id)["response_id"]
    return {"id": identifier, "file": download(response.output_text)}


def images() -> dict[str, Any]:
    body = {"num_inference_steps": 3, "seed": 7}
    made = litellm.image_generation(model="openai/wan-nano", prompt="a", n=2, size="48x32", extra_body=body, **SERVER)
    job = litellm.video_list(limit=2, **SERVER)["data"][1]["id"]  # the first of the two
    with open(sys.argv[2], "rb") as file:
        edited = litellm.image_edit(model="openai/wan-nano", image=file, prompt="a", size="48x32", **SERVER)
    return {
        "many": [picture(one) for one in made.data],
        "edited": [picture(one) for one in edited.data],
        "id": decode_video_id_with_provider(job)["video_id"] or job,
    }


def picture(one: Any) -> str:
    return kind(base64.b64decode(one.b64_json)) if one.b64_json else download(one.url)


def streamed() -> dict[str, Any]:
    events = list(litellm.responses(model="openai/slow", input="a red ball", stream=True, **SERVER))
    return {"last": events[-1].type.value, "file": download(events[-1].response.output[0].content[0].text)}


def failed() -> dict[str, Any]:
    video = finished(generate("broken", "a"))
    return {"status": video.status, "code": video.error["code"]}


def refused() -> dict[str, Any]:
    frames = {"provider_options": {"video": {"num_frames": "five"}}}
    steps = {"provider_options": {"video": {"steps": 61}}}
    running = generate("slow", "a red ball")
    return {
        "mismatch": refusal(lambda: litellm.responses(model="openai/wan-nano-i2v", input="a red ball", **SERVER)),
        "mismatch_video": refusal(lambda: generate("wan-nano-i2v", "a red ball")),
        "bad_value": refusal(lambda: generate("wan-nano", "a", extra_body=frames)),
        "bad_value_video": refusal(lambda: generate("wan-nano", "a", size="720p")),
        "limit": refusal(lambda: generate("wan-nano", "a", extra_body=steps)),
        "no_model": refusal(lambda: generate("nobody", "a")),
        "not_ready": refusal(lambda: content(running)),
    }


report(version("litellm"), [video, listed, deleted, created, with_text, images, streamed, failed, refused])
