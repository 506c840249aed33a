"""The input of a response as the SDKs' pages of messages."""

from __future__ import annotations

import base64
from typing import Any

from router.errors import UnknownJob
from router.storage.artifacts import ArtifactStore
from router.values import Job, StoredInput
from router.web.http.fields import shown
from router.web.http.query import page
from router.web.jobs import unknown
from router.web.responses.answers import StoredImage, StoredMessage, StoredText

IMAGES = "message.input_image.image_url"  # the value of `include` that asks for the images themselves
MESSAGE, IMAGE, TEXT = StoredMessage(), StoredImage(), StoredText()


def input_items(
    job: Job, artifacts: ArtifactStore, *, limit: int, after: str | None, newest_first: bool, inline: bool
) -> dict[str, Any]:
    """Return a page of the input messages of `job`: system and user.

    An image shows the type, size in bytes and digest of what was received; `inline` adds a `data:` URL of the stored
    PNG, which may have megabytes. Raises `UnknownJob` when `after` is none of the items.
    """
    system = [_text(text) for text in job.presentation.system]
    images = [_image(job, stored, artifacts, inline) for stored in job.inputs]
    messages = [_message(f"msg_sys_{job.id}", "system", system)] if system else []
    messages.append(_message(f"msg_in_{job.id}", "user", [*images, _text(_prompt(job))]))
    if newest_first:
        messages.reverse()
    ids = [message["id"] for message in messages]
    if after and after not in ids:
        raise UnknownJob(f"after must be the id of an item of the list, got {shown(after)}", param="after")
    return page(messages[ids.index(after) + 1 if after else 0 :], limit)


def _prompt(job: Job) -> str:
    prompt = job.presentation.prompt or job.task.prompt
    if job.presentation.prompt is None and (instructions := job.presentation.instructions):
        return prompt.removeprefix(f"{instructions}\n")  # rows of older versions do not keep them apart
    return prompt


def _message(public: str, role: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return MESSAGE.dump({"id": public, "role": role, "content": content})


def _text(text: str) -> dict[str, Any]:
    return TEXT.dump({"text": text})


def _image(job: Job, stored: StoredInput, artifacts: ArtifactStore, inline: bool) -> dict[str, Any]:
    image = IMAGE.dump(stored)
    if not inline:
        return image
    try:
        data = artifacts.read_input(job.id, stored.name)
    except FileNotFoundError:  # deleted this very moment
        raise unknown(f"resp_{job.id}") from None
    media_type = "image/png" if stored.png_size else stored.media_type
    return {**image, "image_url": f"data:{media_type};base64,{base64.b64encode(data).decode()}"}
