"""What a response was made from, as the list that the SDKs page through: one message of the user."""

from __future__ import annotations

import base64
from typing import Any

from router.errors import UnknownJob
from router.storage.artifacts import ArtifactStore
from router.values import Job, StoredInput
from router.web.http.fields import shown
from router.web.http.ids import unknown
from router.web.http.query import page

IMAGES = "message.input_image.image_url"  # what to include for the images themselves


def input_items(job: Job, artifacts: ArtifactStore, *, limit: int, after: str | None, inline: bool) -> dict[str, Any]:
    """Return a page of the items of `job`: its prompt, without the instructions, and its images.

    An image shows the type, size in bytes and digest of what was received, and only where it is asked for (`inline`)
    a `data:` URL, of the PNG that was made of it: it may have megabytes. Raises `UnknownJob` when `after` is none of
    the items.
    """
    message = _message(job, artifacts, inline)
    if after not in (None, "", message["id"]):
        raise UnknownJob(f"after must be the id of an item of the list, got {shown(after)}", param="after")
    return page([] if after else [message], limit)


def _message(job: Job, artifacts: ArtifactStore, inline: bool) -> dict[str, Any]:
    instructions = job.form.get("instructions")
    prompt = job.task.prompt.removeprefix(f"{instructions}\n") if instructions else job.task.prompt
    images = [_image(job, stored, artifacts, inline) for stored in job.inputs]
    return {
        "type": "message",
        "id": f"msg_in_{job.id}",
        "status": "completed",
        "role": "user",
        "content": [*images, {"type": "input_text", "text": prompt}],
    }


def _image(job: Job, stored: StoredInput, artifacts: ArtifactStore, inline: bool) -> dict[str, Any]:
    return {
        "type": "input_image",
        "image_url": _data_url(job, stored, artifacts) if inline else None,
        "detail": "auto",
        "role": stored.role,
        "media_type": stored.media_type,
        "bytes": stored.size,
        "sha256": stored.sha256,
    }


def _data_url(job: Job, stored: StoredInput, artifacts: ArtifactStore) -> str:
    try:
        data = artifacts.read_input(job.id, stored.name)
    except FileNotFoundError:  # deleted this very moment
        raise unknown(f"resp_{job.id}") from None
    media_type = "image/png" if stored.png_size else stored.media_type
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
