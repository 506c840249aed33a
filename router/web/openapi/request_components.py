"""JSON Schemas of `input` and images, which no marshmallow schema can describe."""

from __future__ import annotations

from typing import Any

from router.web.responses.input import IGNORED_ITEMS, IMAGE_PARTS, ROLES, TEXT_PARTS


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


COMPONENTS: dict[str, dict[str, Any]] = {
    "ImageUrl": {
        "description": "an http(s) or `data:` URL of a PNG, JPEG, WebP, HEIC or AVIF: text, or an object with `url`",
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]},
        ],
    },
    "Reference": {
        "description": "an image by its URL",
        "type": "object",
        "properties": {"image_url": _ref("ImageUrl")},
        "required": ["image_url"],
    },
    "InputText": {
        "description": "a part of a message: text",
        "type": "object",
        "properties": {"type": {"enum": list(TEXT_PARTS)}, "text": {"type": "string"}},
        "required": ["type", "text"],
    },
    "InputImage": {
        "description": "a part of a message: an image; the first is the first frame, a second the last frame",
        "type": "object",
        "properties": {"type": {"enum": list(IMAGE_PARTS)}, "image_url": _ref("ImageUrl")},
        "required": ["type", "image_url"],
    },
    "InputMessage": {
        "description": "who says what; what the assistant says is read over, an image in it with a warning",
        "type": "object",
        "properties": {
            "type": {"enum": ["message", None]},
            "role": {"enum": list(ROLES), "default": "user"},
            "content": {
                "description": "text, or parts; a system message has no images",
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"anyOf": [_ref("InputText"), _ref("InputImage")]}},
                ],
            },
        },
        "required": ["content"],
    },
    "InputOther": {
        "description": "an item of a conversation that says nothing to a video model, and is read over",
        "type": "object",
        "properties": {"type": {"enum": list(IGNORED_ITEMS)}},
        "required": ["type"],
    },
    "InputItem": {"anyOf": [_ref("InputMessage"), _ref("InputOther")]},
}
