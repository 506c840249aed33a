"""Recorded requests of foreign clients, as plain HTTP; no package is needed."""

import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from conftest import data_url, png

PROMPT = "a red ball"
PNG = png(96, 64)
DATA_URL = data_url(PNG)
SIZE = {"width": 48, "height": 32, "steps": 3, "seed": 7}
VIDEO = {**SIZE, "num_frames": 9}
IMAGE = {**SIZE, "num_frames": 1}
MULTIPART = "multipart/form-data; boundary=frontier"


@dataclass(frozen=True)
class Body:
    """The body of a request, as it goes over the wire."""

    media_type: str
    data: bytes


@dataclass(frozen=True)
class Done:
    """A request's expected answer, and the job that ran."""

    kind: str  # response, video, images, mp4 or mlperf
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()  # names of fields without a meaning here, each in a warning
    number: int = 1


@dataclass(frozen=True)
class Refused:
    """An expected refusal, with a part of its message."""

    status: int
    code: str
    message: str


@dataclass(frozen=True)
class Recorded:
    """A client's request and its expected end."""

    client: str
    path: str
    body: Body
    wanted: Done | Refused


def json_of(**fields: Any) -> Body:
    return Body("application/json", json.dumps(fields).encode())


def urlencoded(**fields: str) -> Body:
    return Body("application/x-www-form-urlencoded", urlencode(fields).encode())


def form(
    *parts: tuple[str, str | bytes], filename: str = "cat.png", file_type: str = "image/png", **texts: str
) -> Body:
    """Return a multipart body as httpx, requests and Node write it."""
    return Body(MULTIPART, _multipart([*texts.items(), *parts], filename, file_type, ""))


def aiohttp_form(name: str, file_type: str = "application/octet-stream", **texts: str) -> Body:
    """Return a multipart body of an image as aiohttp writes it: texts have types."""
    parts = [*texts.items(), (name, PNG)]
    return Body(MULTIPART, _multipart(parts, "cat.png", file_type, "Content-Type: text/plain; charset=utf-8\r\n"))


def _multipart(parts: list[tuple[str, Any]], filename: str, file_type: str, text_type: str) -> bytes:
    lines = b""
    for name, value in parts:
        disposition = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, bytes):
            head = f'{disposition}; filename="{filename}"\r\nContent-Type: {file_type}\r\n'
        else:
            head, value = f"{text_type}{disposition}\r\n", value.encode()
        lines += b"--frontier\r\n" + head.encode() + b"\r\n" + value + b"\r\n"
    return lines + b"--frontier--\r\n"


def message(*content: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


TEXT_PART = {"type": "input_text", "text": PROMPT}
IMAGE_PART = {"type": "input_image", "image_url": DATA_URL}
BLOCK = {"width": 48, "height": 32, "steps": 3}
FLAT = {"width": 48, "height": 32, "num_inference_steps": 3, "seed": 7, "num_frames": 9}
FLAT_TEXT = {name: str(value) for name, value in FLAT.items()}
TYPED = {"provider_options": {"video": {"steps": 3, "num_frames": 9}}, "seed": 7, "text_output": True}
TYPED_RAN = {"steps": 3, "num_frames": 9, "seed": 7}
ANY = {"model": "any", "prompt": PROMPT}
COMFYUI = {
    "prompt": PROMPT, "size": "48x32", "negative_prompt": "blur", "guidance_scale": 4.5, "num_inference_steps": 3,
    "seed": 7, "generator_device": "cuda",
}  # fmt: skip
COMFYUI_RAN = {**SIZE, "negative_prompt": "blur", "guidance_scale": 4.5}
MLPERF = {
    "prompt": PROMPT, "size": "32x48", "seconds": 5.0, "fps": 16, "num_inference_steps": 3, "guidance_scale": 4.0,
    "guidance_scale_2": 3.0, "seed": 42, "num_frames": 9, "boundary_ratio": 0.875, "output_format": "auto",
}  # fmt: skip
ask = partial(json_of, model="any", prompt=PROMPT)
MISMATCH = Refused(400, "modality_mismatch", "image is image-to-video: it needs an image, got text only")
RECORDED = [
    Recorded(*row)
    for row in [
        ("MAX, modular", "responses", json_of(model="text", input=PROMPT, provider_options={"video": {**BLOCK, "num_frames": 9}}, seed=7), Done("response", "text", VIDEO)),
        ("MAX, modular", "responses", json_of(model="any", input=message(IMAGE_PART, TEXT_PART), provider_options={"video": {**BLOCK, "num_frames": 9}}, seed=7), Done("response", "image", VIDEO)),
        ("MAX, modular", "responses", json_of(model="any", input=PROMPT, provider_options={"image": BLOCK}, seed=7), Done("response", "text", IMAGE)),
        ("MAX, modular", "responses", json_of(model="image", input=PROMPT, provider_options={"video": BLOCK}), MISMATCH),
        ("MAX, sglang", "videos", ask(**FLAT, guidance_scale=4.5, negative_prompt="blur"), Done("video", "text", {**VIDEO, "guidance_scale": 4.5, "negative_prompt": "blur"})),
        ("MAX, sglang", "videos", aiohttp_form("input_reference", **ANY, size="48x32", num_frames="9", extra_body=json.dumps({"num_inference_steps": 3, "guidance_scale": 4.5, "seed": 7, "negative_prompt": "blur"})), Done("video", "image", {**VIDEO, "guidance_scale": 4.5, "negative_prompt": "blur"})),
        ("MAX, sglang", "images/generations", ask(n=1, response_format="b64_json", size="48x32", num_inference_steps=3, guidance_scale=4.5, seed=7), Done("images", "text", {**IMAGE, "guidance_scale": 4.5})),
        ("MAX, vllm", "videos/sync", urlencoded(**ANY, **FLAT_TEXT, negative_prompt="blur"), Done("mp4", "text", {**VIDEO, "negative_prompt": "blur"})),
        ("MAX, vllm", "videos/sync", aiohttp_form("input_reference", **ANY, **FLAT_TEXT), Done("mp4", "image", VIDEO)),
        ("MAX, vllm", "videos/sync", urlencoded(prompt=PROMPT, model="image", **FLAT_TEXT), MISMATCH),
        ("MAX, vllm", "chat/completions", json_of(model="any", messages=[{"role": "user", "content": PROMPT}], extra_body={"height": 32, "width": 48}), Refused(404, "not_found", "/v1/responses")),
        ("SGLang bench", "videos", ask(num_outputs_per_prompt=1, size="48x32", num_frames=9, num_inference_steps=3, fps=4, seed=7), Done("video", "text", {**VIDEO, "frames_per_second": 4})),
        ("SGLang bench", "videos", aiohttp_form("input_reference", **ANY, num_outputs_per_prompt="1", size="48x32", extra_body=json.dumps({"num_inference_steps": 3, "seed": 7}), num_frames="9", fps="4"), Done("video", "image", {**VIDEO, "frames_per_second": 4})),
        ("SGLang bench", "images/generations", ask(n=1, response_format="b64_json", size="48x32", num_inference_steps=3, seed=7), Done("images", "text", IMAGE)),
        ("SGLang bench", "images/edits", aiohttp_form("image", **ANY, response_format="b64_json", n="1", size="48x32", seed="7", num_inference_steps="3"), Done("images", "image", IMAGE)),
        ("SGLang ComfyUI", "videos", json_of(**COMFYUI, seconds=2, fps=4, num_frames=9, input_reference=DATA_URL), Done("video", "image", {**COMFYUI_RAN, "num_frames": 9}, ignored=("generator_device",))),
        ("SGLang ComfyUI", "videos", form(("input_reference", PNG), prompt=PROMPT, size="48x32", seconds="2", fps="4", num_frames="9", num_inference_steps="3", seed="7", generator_device="cuda"), Done("video", "image", VIDEO, ignored=("generator_device",))),
        ("SGLang ComfyUI", "images/generations", json_of(**COMFYUI, n=2, response_format="b64_json", background="auto", quality="auto", style="vivid"), Done("images", "text", {**COMFYUI_RAN, "num_frames": 1}, number=2)),
        ("SGLang ComfyUI", "images/edits", form(("image", PNG), prompt=PROMPT, size="48x32", n="1", response_format="b64_json", num_inference_steps="3", seed="7", background="auto", generator_device="cuda"), Done("images", "image", IMAGE)),
        ("vLLM-Omni", "videos", urlencoded(**ANY, size="48x32", num_frames="9", fps="4", num_inference_steps="3", seed="7", negative_prompt="blur", guidance_scale="4.5"), Done("video", "text", {**VIDEO, "frames_per_second": 4, "negative_prompt": "blur", "guidance_scale": 4.5})),
        ("vLLM-Omni", "videos", urlencoded(**ANY, size="48x32", num_frames="9", num_inference_steps="3", seed="7", image_reference=json.dumps({"image_url": DATA_URL})), Done("video", "image", VIDEO)),
        ("vLLM-Omni", "videos", aiohttp_form("input_reference", "image/png", **ANY, size="48x32", num_frames="9", num_inference_steps="3", seed="7"), Done("video", "image", VIDEO)),
        ("vLLM-Omni", "videos", urlencoded(**ANY, video_reference=json.dumps({"video_url": "data:video/mp4;base64,AAAA"})), Refused(400, "unknown_parameter", "video_reference")),
        ("vLLM-Omni", "videos", urlencoded(**ANY, num_inference_steps="0"), Refused(400, "invalid_value", "num_inference_steps must be an integer from 1")),
        ("vLLM-Omni", "images/generations", ask(n=1, response_format="b64_json", size="48x32", num_inference_steps=3, guidance_scale=4.5, negative_prompt="blur", seed=7), Done("images", "text", {**IMAGE, "guidance_scale": 4.5, "negative_prompt": "blur"})),
        ("vLLM-Omni", "images/edits", aiohttp_form("image", "image/png", **ANY, response_format="b64_json", output_format="png", stream="false", size="auto"), Done("images", "image", {"num_frames": 1})),
        ("OpenAI's packages", "responses", json_of(model="any", input=PROMPT, **TYPED), Done("response", "text", TYPED_RAN)),
        ("OpenAI's packages", "videos", form(("input_reference", PNG), filename="upload", **ANY, seconds="1", size="48x32", **{"provider_options[video][steps]": "3"}), Done("video", "image", {"steps": 3, "width": 48, "height": 32, "num_frames": 9})),
        ("OpenAI's packages", "images/generations", ask(n=2, response_format="b64_json", size="48x32", num_inference_steps=3, seed=7), Done("images", "text", IMAGE, number=2)),
        ("OpenAI's packages", "images/edits", form(("image", PNG), **ANY, response_format="b64_json", size="48x32", num_inference_steps="3", seed="7"), Done("images", "image", IMAGE)),
        ("OpenAI's packages", "images/edits", form(("image[]", PNG), **ANY, response_format="b64_json", file_type="application/octet-stream"), Done("images", "image", {"num_frames": 1})),
        ("LiteLLM", "responses", json_of(model="any", input=PROMPT, **TYPED), Done("response", "text", TYPED_RAN)),
        ("LiteLLM", "videos", form(("provider_options[video][steps]", "3"), **ANY, seconds="1", size="48x32"), Done("video", "text", {"steps": 3, "num_frames": 9})),
        ("LiteLLM", "videos", form(("input_reference", PNG), **ANY, filename="folder/cat.png"), Done("video", "image")),
        ("LiteLLM", "images/generations", ask(n=2, size="48x32", num_inference_steps=3, seed=7), Done("images", "text", IMAGE, number=2)),
        ("LiteLLM", "images/edits", form(("image[]", PNG), **ANY, size="48x32", filename="folder/cat.png"), Done("images", "image", {"num_frames": 1, "width": 48, "height": 32})),
        ("LangChain", "responses", json_of(model="any", stream=False, input=[{"type": "message", "role": "system", "content": "slowly"}, {"type": "message", "role": "user", "content": [TEXT_PART, IMAGE_PART]}], **TYPED), Done("response", "image", TYPED_RAN)),
        ("Agents SDK", "responses", json_of(model="any", include=[], input=message(TEXT_PART), instructions="slowly", tools=[], **TYPED), Done("response", "text", TYPED_RAN)),
        ("Pydantic AI", "responses", json_of(model="any", stream=False, input=[{"role": "user", "content": PROMPT}], **TYPED), Done("response", "text", TYPED_RAN)),
        ("AI SDK", "responses", json_of(model="any", input=message(TEXT_PART, IMAGE_PART)), Done("response", "image")),
        ("AI SDK", "videos", ask(size="48x32", seconds=2, fps=4, seed=7, num_inference_steps=3, input_reference={"image_url": DATA_URL}), Done("video", "image", {**VIDEO, "frames_per_second": 4})),
        ("AI SDK", "images/generations", ask(n=2, size="48x32", num_inference_steps=3), Done("images", "text", {"steps": 3, "width": 48}, number=2)),
        ("AI SDK", "images/edits", form(("image", PNG), **ANY, n="1", size="48x32", num_inference_steps="3", filename="blob"), Done("images", "image", {"steps": 3, "width": 48})),
        ("AI SDK", "chat/completions", json_of(model="any", messages=[{"role": "user", "content": PROMPT}]), Refused(404, "not_found", "/v1/responses")),
        ("Open WebUI", "images/generations", ask(n=2, size="48x32", response_format="b64_json"), Done("images", "text", {"width": 48, "height": 32, "num_frames": 1}, number=2)),
        ("Open WebUI", "images/generations", ask(n=1, size="512x512", response_format="b64_json"), Done("images", "text", {"width": 128, "height": 128}, ignored=("512x512",))),
        ("Open WebUI", "images/edits", aiohttp_form("image[]", "image/png", **ANY, size="48x32", response_format="b64_json"), Done("images", "image", {"width": 48, "height": 32})),
        ("MLPerf", "videos/generations", json_of(**MLPERF, response_format="video_bytes"), Done("mlperf", "text", {"width": 32, "height": 48, "num_frames": 9, "frames_per_second": 16, "steps": 3, "guidance_scale": 4.0, "seed": 42})),
        ("MLPerf", "videos/generations", json_of(**MLPERF, response_format="video_path"), Refused(400, "invalid_value", "response_format")),
        ("MLPerf", "videos/generations", json_of(**MLPERF, response_format="video_bytes", latent_path="/latents/1.pt"), Refused(400, "invalid_value", "latent_path")),
        ("SGLang ComfyUI", "videos", json_of(**COMFYUI, seconds=5, fps=4, num_frames=9), Done("video", "text", {**COMFYUI_RAN, "num_frames": 9, "frames_per_second": 4}, ignored=("generator_device", "seconds 5 is not used"))),
        ("vLLM-Omni", "images/edits", urlencoded(**ANY, response_format="b64_json", output_format="png", stream="false", size="48x32", num_inference_steps="3", seed="7", url=DATA_URL), Done("images", "image", IMAGE)),
        ("curl", "videos", Body("application/x-www-form-urlencoded", b'{"prompt": "a"}'), Refused(415, "unsupported_media_type", "application/json")),
        ("OpenAI's packages", "images/edits", form(("image", PNG), ("mask", PNG), **ANY), Refused(400, "unknown_parameter", "a file must come as image, got one as 'mask'")),
        ("vLLM-Omni", "videos", urlencoded(**ANY, image_reference='{"image_url": "https:'), Refused(400, "invalid_value", "image_reference must be an image: a URL")),
    ]
]  # fmt: skip
