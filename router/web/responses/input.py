"""Read `input`: a string, or the items and parts that the SDKs send."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry import Input
from router.errors import InvalidRequest, ModalityMismatch
from router.request import ImageInput
from router.web.http.fields import invalid_value, shown, unclean
from router.web.schemas import read_image, refuse_file_id

IGNORED_ITEMS = ("function_call", "function_call_output", "reasoning", "compaction", "item_reference")
ROLES = ("user", "system", "developer", "assistant")
Content = tuple[list[str], list[ImageInput]]
IMAGE_PARTS = ("input_image", "image_url")  # the second is Chat Completions' word
TEXT_PARTS = ("input_text", "text", "output_text")


@dataclass(frozen=True)
class ParsedInput:
    """What the input says: its texts apart, and the images in order.

    `own` is the user's text. `index` is that of the message that is the request, None where the input is text.
    """

    instructions: str | None
    system: tuple[str, ...]
    own: str
    pictures: tuple[ImageInput, ...]
    index: int | None

    @property
    def prompt(self) -> str:
        """Return all texts as the model reads them."""
        return "\n".join(filter(str.strip, [self.instructions or "", *self.system, self.own]))


def read_input(value: Any, instructions: Any = None) -> ParsedInput:
    """Return the last user message and the texts of system and developer.

    Raises `InvalidRequest` for what is no input, and `missing_required_parameter` where there is no prompt.
    """
    instructed = _text(instructions, "instructions") if isinstance(instructions, str) else None
    if value is None:
        raise _missing("input is missing: a prompt, as a string or as messages, is needed")
    index: int | None = None
    if isinstance(value, str):
        system: list[str] = []
        user_content: Content = ([_text(value, "input")], [])
    else:
        system, user_content, index = _read_items(value)
    texts, pictures = user_content
    if not "".join(texts).strip():
        raise _missing("input has no text: every model here needs a prompt")
    return ParsedInput(instructed, tuple(system), " ".join(texts), tuple(pictures), index)


def is_of_user(item: Mapping[str, Any]) -> bool:
    """Say whether an item that was read is a message of the user."""
    return "content" in item and item.get("role", "user") == "user"


def is_text(part: Any, where: str) -> bool:
    """Say whether a part is text or an image; raise `InvalidRequest` for any other.

    Without a type its one key tells, as MAX's clients send it.
    """
    kind = part.get("type") if isinstance(part, dict) else ""
    keys = part.keys() & {"text", "image_url"} if kind is None else ()
    if kind in TEXT_PARTS or keys == {"text"}:
        return True
    if kind in IMAGE_PARTS or keys == {"image_url"}:
        return False
    raise invalid_value(where, "an input_text or input_image part", part)


def _read_items(items: Any) -> tuple[list[str], Content, int]:
    """Return the system's texts, what the last user message says, and its index."""
    if not isinstance(items, list):
        raise invalid_value("input", "a string or a list of messages", items)
    system: list[str] = []
    user: Content | None = None
    last = 0
    for index, item in enumerate(items):
        where = f"input[{index}]"
        role = _role(item, where)
        if role == "user":
            user, last = _read_content(item.get("content"), f"{where}.content"), index
        elif role in ("system", "developer"):
            texts, pictures = _read_content(item.get("content"), f"{where}.content")
            if pictures:
                message = f"{where}: an image must be in the user's message, got one of the {role}"
                raise InvalidRequest(message, param=where)
            system.extend(texts)
    if user is None:
        raise _missing("input has no user message")
    return system, user, last


def _role(item: Any, where: str) -> str | None:
    """Return the role of a message, None for items that are not messages."""
    if not isinstance(item, dict):
        raise invalid_value(where, "a message object", item)
    kind = item.get("type") or ("message" if "content" in item or "id" not in item else "item_reference")
    if kind in IGNORED_ITEMS:
        return None
    role = item.get("role", "user")
    if kind != "message":
        raise InvalidRequest(f"{where}: type must be message, got {shown(kind)}", param=where)
    if role not in ROLES:
        raise InvalidRequest(f"{where}: role must be one of {', '.join(ROLES)}, got {shown(role)}", param=where)
    return str(role)


def _read_content(content: Any, where: str) -> Content:
    if isinstance(content, str):
        return [_text(content, where)], []
    if not isinstance(content, list):
        raise invalid_value(where, "a string or a list of parts", content)
    texts, images = [], []
    for index, part in enumerate(content):
        at = f"{where}[{index}]"
        if is_text(part, at):
            texts.append(_text(part.get("text"), f"{at}.text"))
        else:
            refuse_file_id(part, at)
            images.append((part, at))
    if len(images) > 2:
        raise ModalityMismatch(f"input has {len(images)} images: no model takes more than two", param="input")
    roles = (Input.IMAGE, Input.LAST_IMAGE)  # the gate knows whether the model takes them
    placed = zip(images, roles, strict=False)
    return texts, [read_image(part.get("image_url"), role, f"{at}.image_url") for (part, at), role in placed]


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise invalid_value(where, "a string", value)
    if problem := unclean(value):
        raise InvalidRequest(f"{where} must be text, got {problem}", param=where)
    return value


def _missing(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="input", code="missing_required_parameter")
