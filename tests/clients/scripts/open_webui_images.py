"""Open WebUI's image engine: its own request code, without its database, log-in and storage."""

import asyncio
import base64
import logging
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from seen import BASE, kind, latest, refusal, report
from stubs import bare, stub

SETTINGS = {
    "image_generation.engine": "openai",
    "image_generation.model": "wan-nano",
    "image_generation.size": "48x32",
    "image_generation.openai.api_base_url": BASE,
    "image_generation.openai.api_key": "none",
    "image_generation.openai.api_version": "",
    "image_generation.openai.params": {"num_inference_steps": 3, "seed": 7},
    "images.edit.engine": "openai",
    "images.edit.model": "wan-nano",
    "images.edit.size": "",
    "images.edit.openai.api_base_url": BASE,
    "images.edit.openai.api_key": "none",
    "images.edit.openai.api_version": "",
}
FILES: list[bytes] = []  # what it stores


class Config:
    @staticmethod
    async def get_many(*keys: str) -> dict[str, Any]:
        return {key: SETTINGS.get(key) for key in keys}


async def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


async def store(request: Any, file: Any, **_: Any) -> Any:
    FILES.append(file.file.read())
    return SimpleNamespace(id="1", meta={}, filename=file.filename)


stub(
    *("sqlalchemy", "open_webui.events", "open_webui.internal", "open_webui.models.chats", "open_webui.retrieval"),
    *("open_webui.utils", "open_webui.env", "open_webui.config", "open_webui.constants", "open_webui.routers.files"),
    open_webui__config={
        "CACHE_DIR": Path(tempfile.mkdtemp()),
        "ENABLE_OPENAI_IMAGE_EDIT_NORMALIZATION": True,
        "IMAGE_AUTO_SIZE_MODELS_REGEX_PATTERN": "^gpt-image",
        "IMAGE_URL_RESPONSE_MODELS_REGEX_PATTERN": os.environ.get("URL_MODELS", "^gpt-image"),
    },
    open_webui__constants={"ERROR_MESSAGES": SimpleNamespace(DEFAULT=lambda error="", *_: str(error))},
    open_webui__env={
        "AIOHTTP_CLIENT_ALLOW_REDIRECTS": False,
        "AIOHTTP_CLIENT_SESSION_SSL": True,
        "ENABLE_FORWARD_USER_INFO_HEADERS": False,
    },
    open_webui__models__config={"Config": Config},
    open_webui__routers__files={"upload_file_handler": store},
    open_webui__utils__session_pool={"get_session": session},
    open_webui__retrieval__web__utils={
        "validate_url": lambda url: True,
        "get_ssrf_safe_session": aiohttp.ClientSession,
    },
)
bare("open-webui", "open_webui", "open_webui.routers", "open_webui.models")
from open_webui.routers import images  # noqa: E402

logging.disable(logging.CRITICAL)
with open(sys.argv[2], "rb") as file:
    DATA_URL = f"data:image/png;base64,{base64.b64encode(file.read()).decode()}"
REQUEST = SimpleNamespace(app=SimpleNamespace(url_path_for=lambda *_, **__: "/file"))
CREATE, EDIT = images.CreateImageForm, images.EditImageForm


def made(call: Any, form: Any) -> dict[str, Any]:
    FILES.clear()
    asyncio.run(call(REQUEST, form, user=None))
    return {**latest(len(FILES)), "files": [kind(file) for file in FILES]}


def generated() -> dict[str, Any]:
    return made(images.image_generations, CREATE(prompt="a red ball", n=2))


def generated_too_large() -> dict[str, Any]:
    """Send Open WebUI's own default size."""
    return made(images.image_generations, CREATE(prompt="a red ball", size="512x512"))


def edited() -> dict[str, Any]:
    return made(images.image_edits, EDIT(prompt="a red ball", image=DATA_URL))


def edited_list() -> dict[str, Any]:
    return made(images.image_edits, EDIT(prompt="a red ball", image=[DATA_URL], size="48x32"))


def by_url() -> dict[str, Any]:
    """Ask without a `response_format`, as it does for models of the name `gpt-image`."""
    pattern = images.IMAGE_URL_RESPONSE_MODELS_REGEX_PATTERN
    images.IMAGE_URL_RESPONSE_MODELS_REGEX_PATTERN = "^wan"
    try:
        return made(images.image_generations, CREATE(prompt="a red ball"))
    finally:
        images.IMAGE_URL_RESPONSE_MODELS_REGEX_PATTERN = pattern


def refused() -> dict[str, Any]:
    SETTINGS["image_generation.model"] = "wan-nano-i2v"
    return {"mismatch": refusal(lambda: made(images.image_generations, CREATE(prompt="a red ball")))}


report(version("open-webui"), [generated, generated_too_large, edited, edited_list, by_url, refused])
