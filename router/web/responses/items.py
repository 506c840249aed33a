"""The input of a response as the SDKs' pages of messages."""

from __future__ import annotations

import base64
from typing import Any

from router.errors import UnknownJob
from router.storage.artifacts import ArtifactStore
from router.values import Job, StoredInput
from router.web.http.fields import shown
from router.web.http.ids import unknown
from router.web.http.query import page
from router.web.responses.answers import InputItems, StoredImage, StoredMessage, StoredText

IMAGES = "message.input_image.image_url"  # the value of `include` that asks for the images themselves
ITEMS, MESSAGE, IMAGE, TEXT = InputItems(), StoredMessage(), StoredImage(), StoredText()


def input_items(
    job: Job, artifacts: ArtifactStore, *, limit: int, after: str | None, newest_first: bool, inline: bool
) -> dict[str, Any]:
    """Return a page of the input messages of `job`: system and user.

    An image shows the type, size in bytes and digest of what was received; `inline` adds a `data:` URL of the stored
    PNG, which may have megabytes. Raises `UnknownJob` when `after` is none of the items.
    """
    messages = [*_system(job), _user(job, artifacts, inline)]
    if newest_first:
        messages.reverse()
    ids = [message["id"] for message in messages]
    if after and after not in ids:
        raise UnknownJob(f"after must be the id of an item of the list, got {shown(after)}", param="after")
    return dict(ITEMS.dump(page(messages[ids.index(after) + 1 if after else 0 :], limit)))


def _system(job: Job) -> list[dict[str, Any]]:
    texts = job.presentation.system
    return [_message(f"msg_sys_{job.id}", "system", [_text(text) for text in texts])] if texts else []


def _user(job: Job, artifacts: ArtifactStore, inline: bool) -> dict[str, Any]:
    prompt = job.presentation.prompt or job.task.prompt
    if job.presentation.prompt is None and (instructions := job.presentation.instructions):
        prompt = prompt.removeprefix(f"{instructions}\n")  # rows of older versions do not keep them apart
    images = [_image(job, stored, artifacts, inline) for stored in job.inputs]
    return _message(f"msg_in_{job.id}", "user", [*images, _text(prompt)])


def _message(public: str, role: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(MESSAGE.dump({"id": public, "role": role, "content": content}))


def _text(text: str) -> dict[str, Any]:
    return dict(TEXT.dump({"text": text}))


def _image(job: Job, stored: StoredInput, artifacts: ArtifactStore, inline: bool) -> dict[str, Any]:
    return {**IMAGE.dump(stored), "image_url": _data_url(job, stored, artifacts) if inline else None}


def _data_url(job: Job, stored: StoredInput, artifacts: ArtifactStore) -> str:
    try:
        data = artifacts.read_input(job.id, stored.name)
    except FileNotFoundError:  # deleted this very moment
        raise unknown(f"resp_{job.id}") from None
    media_type = "image/png" if stored.png_size else stored.media_type
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
