"""vLLM-Omni's load client: its own request functions, without vLLM and its GPU.

Of vLLM only the two dataclasses and the two checks of its `endpoint_request_func` are told again here.
"""

import asyncio
import base64
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import aiohttp
from seen import BASE, latest, report
from stubs import bare, stub


@dataclass
class RequestFuncInput:
    prompt: str
    api_url: str
    prompt_len: int = 0
    output_len: int = 0
    model: str = "wan-nano"
    model_name: str | None = None
    extra_headers: dict[str, str] | None = None
    extra_body: dict[str, Any] | None = None
    multi_modal_content: dict[str, Any] | list[dict[str, Any]] | None = None
    request_id: str | None = None


@dataclass
class RequestFuncOutput:
    generated_text: str = ""
    success: bool = False
    latency: float = 0.0
    output_tokens: int = 0
    ttft: float = 0.0
    itl: list[float] = field(default_factory=list)
    tpot: float = 0.0
    prompt_len: int = 0
    error: str = ""
    start_time: float = 0.0


def validate(url: str, name: str, suffix: str) -> None:
    if not url.endswith(suffix):
        raise ValueError(f"{name} URL must end with {suffix}")


stub(
    "vllm",
    "vllm_omni.benchmarks.data_modules",
    "vllm_omni.benchmarks.omniinteract",
    "vllm_omni.benchmarks.omniinteract_eval",
    vllm__logger={"init_logger": logging.getLogger},
    vllm__benchmarks__lib__endpoint_request_func={
        "ASYNC_REQUEST_FUNCS": {},
        "OPENAI_COMPATIBLE_BACKENDS": [],
        "RequestFuncInput": RequestFuncInput,
        "RequestFuncOutput": RequestFuncOutput,
        "_validate_api_url": validate,
        "_update_headers_common": lambda headers, request: headers.update(request.extra_headers or {}),
    },
)
bare("vllm-omni", "vllm_omni", "vllm_omni.benchmarks", "vllm_omni.benchmarks.patch", "vllm_omni.metrics")
from vllm_omni.benchmarks.patch import patch  # noqa: E402

with open(sys.argv[2], "rb") as file:
    PNG = file.read()
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
SIZE = {
    "width": 48,
    "height": 32,
    "num_inference_steps": 3,
    "guidance_scale": 4.5,
    "negative_prompt": "blur",
    "seed": 7,
}
VIDEO = {**SIZE, "num_frames": 9, "fps": 4, "poll_interval_s": 0.1}
Call = Callable[[Any, aiohttp.ClientSession], Awaitable[Any]]


def send(call: Call, path: str, extra: dict[str, Any], content: Any = None, model: str = "wan-nano") -> dict[str, Any]:
    """Send one request as `vllm bench serve --omni` does and return what it measured."""

    async def once() -> Any:
        async with patch._build_benchmark_session(1, True) as session:
            return await call(
                RequestFuncInput("a red ball", BASE + path, model=model, extra_body=extra, multi_modal_content=content),
                session,
            )

    measured = asyncio.run(once())
    names = ("success", "error", "video_frames", "video_duration", "image_count", "image_pixels")
    seconds = measured.video_generation_time_ms > 0
    seen = {**{name: getattr(measured, name) for name in names}, "generation_time": seconds}
    return {**latest(), **seen} if measured.success else seen


def video(content: Any = None, model: str = "wan-nano", **extra: Any) -> dict[str, Any]:
    return send(patch.async_request_openai_videos_omni, "/videos", {**VIDEO, **extra}, content, model)


def text_to_video() -> dict[str, Any]:
    return video()


def url_to_video() -> dict[str, Any]:
    return video([{"type": "image_url", "image_url": {"url": DATA_URL}}])


def path_to_video() -> dict[str, Any]:
    return video({"image": sys.argv[2]})


def image() -> dict[str, Any]:
    return send(patch.async_request_openai_image_generations_omni, "/images/generations", SIZE)


def edited_url() -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": DATA_URL}}
    return send(patch.async_request_openai_image_edits_omni, "/images/edits", SIZE, [part])


def edited_file() -> dict[str, Any]:
    return send(patch.async_request_openai_image_edits_omni, "/images/edits", {}, {"image": sys.argv[2]})


def refused() -> dict[str, Any]:
    data_video = [{"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}]
    return {
        "mismatch": video(model="wan-nano-i2v"),
        "steps": video(num_inference_steps=0),
        "guidance": video(guidance_scale=25),
        "limit": video(num_inference_steps=61),
        "video": video(data_video),
        "lora": video(lora={"name": "lightning", "scale": 1.0}),
        "no_model": video(model="nobody"),
        "image_limit": send(
            patch.async_request_openai_image_generations_omni,
            "/images/generations",
            {**SIZE, "num_inference_steps": 61},
        ),
    }


report(
    version("vllm-omni"),
    [text_to_video, url_to_video, path_to_video, image, edited_url, edited_file, refused],
)
