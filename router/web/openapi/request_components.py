"""JSON Schemas of `input` and images, which no marshmallow schema can describe."""

from typing import Any

from registry import adapters
from router.web.adapters import LONGEST
from router.web.responses.input import IGNORED_ITEMS, IMAGE_PARTS, ROLES, TEXT_PARTS


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(about: str, *needed: str, **properties: Any) -> dict[str, Any]:
    return {"description": about, "type": "object", "properties": properties, "required": list(needed)}


TEXT = {"type": "string"}
NAME = {"type": "string", "minLength": 1, "maxLength": LONGEST}
NUMBER = {"type": "number", "minimum": adapters.STRENGTH.least, "maximum": adapters.STRENGTH.most}
BOTH = {"type": "object", "properties": {"high": NUMBER, "low": NUMBER}, "required": ["high", "low"]}
STRENGTH = {"anyOf": [NUMBER, {**BOTH, "additionalProperties": False}, {"type": "null"}]}
OF_MESSAGE = {"type": "array", "items": {"anyOf": [_ref("InputText"), _ref("InputImage")]}}
COMPONENTS: dict[str, dict[str, Any]] = {
    "ImageUrl": {
        "description": "an http(s) or `data:` URL of a PNG, JPEG, WebP, HEIC or AVIF: text, or an object with `url`",
        "anyOf": [TEXT, {"type": "object", "properties": {"url": TEXT}, "required": ["url"]}],
    },
    "Reference": _object("an image by its URL", "image_url", image_url=_ref("ImageUrl")),
    "AdapterChoice": {
        "description": "an adapter of the model's entry: its name, or an object with that and a strength, "
        "one for both experts or one for each; without one, the entry's; 0 is the same as leaving it out",
        "anyOf": [NAME, {**_object("", "name", name=NAME, strength=STRENGTH), "additionalProperties": False}],
    },
    "Lora": {
        "description": "the same with vLLM-Omni's names of the fields; a path is refused",
        "anyOf": [NAME, {"type": "object", "properties": {"name": NAME, "scale": STRENGTH}, "required": ["name"]}],
    },
    "InputText": _object("a part of a message: text", "text", type={"enum": [*TEXT_PARTS, None]}, text=TEXT),
    "InputImage": _object(
        "a part of a message: an image; the first is the first frame, a second the last frame",
        "image_url",
        type={"enum": [*IMAGE_PARTS, None]},
        image_url=_ref("ImageUrl"),
    ),
    "InputMessage": _object(
        "who says what; what the assistant says is read over, an image in it with a warning",
        "content",
        type={"enum": ["message", None]},
        role={"enum": list(ROLES), "default": "user"},
        content={"description": "text, or parts; a system message has no images", "anyOf": [TEXT, OF_MESSAGE]},
    ),
    "InputOther": _object(
        "an item of a conversation that says nothing to a video model, and is read over",
        "type",
        type={"enum": list(IGNORED_ITEMS)},
    ),
    "InputItem": {"anyOf": [_ref("InputMessage"), _ref("InputOther")]},
}
