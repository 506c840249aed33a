"""Render a job as an Open Responses resource, and its input as messages."""

import base64
from dataclasses import replace
from typing import Any

from router.auth.signed_urls import SignedUrls
from router.storage.artifacts import ArtifactStore
from router.values import Job, OutputPart, Status, StoredInput
from router.web.jobs import unknown
from router.web.responses import answers
from router.web.waiting.watch import Watch

RESPONSE, MESSAGE = answers.Response(), answers.Message()
PARTS = {"video": answers.OutputVideo(), "image": answers.OutputImage(), "text": answers.OutputText()}
MESSAGE_IN, IMAGE_IN, TEXT_IN = answers.StoredMessage(), answers.StoredImage(), answers.StoredText()
IMAGES = "message.input_image.image_url"  # the value of `include` that asks for the images themselves


class Rendering:
    """Renders responses with links to the files, at `public_url` and signed by `links`."""

    def __init__(self, artifacts: ArtifactStore, public_url: str, links: SignedUrls) -> None:
        self._artifacts = artifacts
        self._public_url = public_url.rstrip("/")
        self._links = links

    def response(self, job: Job) -> dict[str, Any]:
        return {**RESPONSE.dump(job), "output": self.output(job, inline=job.presentation.inline)}

    def ended(self, watch: Watch) -> dict[str, Any]:
        """Return the resource at the end of a wait."""
        return self.deleted(watch.job) if watch.deleted else self.response(watch.job)

    def deleted(self, job: Job) -> dict[str, Any]:
        """Return the resource of a job deleted under a waiting caller: a cancelled one."""
        ended = replace(job, status=Status.CANCELLED, artifact=None, failure=None)
        return {**self.response(ended), "incomplete_details": {"reason": "deleted"}}

    def output(self, job: Job, *, inline: bool = False) -> list[dict[str, Any]]:
        """Return the message with the finished file; `inline` has it in base64."""
        if job.artifact is None:
            return []
        kind = job.artifact.media_type.partition("/")[0]
        url = self._public_url + self._links.sign(f"/v1/{kind}s/{kind}_{job.id}/content")
        data = self._data(job) if inline else None
        file = {f"{kind}_url": url} if data is None else {f"{kind}_data": data}
        schema = PARTS["text" if job.presentation.part is OutputPart.TEXT else kind]
        part = schema.dump({**vars(job.artifact), **file, "text": url})
        return [MESSAGE.dump({"id": f"msg_{job.id}", "status": "completed", "content": [part]})]

    def _data(self, job: Job) -> str | None:
        path = self._artifacts.output(job)
        try:
            return base64.b64encode(path.read_bytes()).decode() if path else None
        except FileNotFoundError:  # deleted this very moment
            return None


def input_items(job: Job, artifacts: ArtifactStore, *, inline: bool) -> list[dict[str, Any]]:
    """Return the input messages of `job`: the system's, if any, and the user's.

    An image shows the type, size in bytes and digest of what was received; `inline` adds a `data:` URL of the stored
    PNG, which may have megabytes.
    """
    system = [TEXT_IN.dump({"text": text}) for text in job.presentation.system]
    images = [_image(job, stored, artifacts, inline) for stored in job.inputs]
    messages = (
        {"id": f"msg_sys_{job.id}", "role": "system", "content": system},
        {"id": f"msg_in_{job.id}", "role": "user", "content": [*images, TEXT_IN.dump({"text": _prompt(job)})]},
    )
    return [MESSAGE_IN.dump(message) for message in messages if message["content"]]


def _prompt(job: Job) -> str:
    prompt = job.presentation.prompt or job.task.prompt
    if job.presentation.prompt is None and (instructions := job.presentation.instructions):
        return prompt.removeprefix(f"{instructions}\n")  # rows of older versions do not keep them apart
    return prompt


def _image(job: Job, stored: StoredInput, artifacts: ArtifactStore, inline: bool) -> dict[str, Any]:
    image = IMAGE_IN.dump(stored)
    if not inline:
        return image
    try:
        data = artifacts.read_input(job.id, stored.name)
    except FileNotFoundError:  # deleted this very moment
        raise unknown(f"resp_{job.id}") from None
    media_type = "image/png" if stored.png_size else stored.media_type
    return {**image, "image_url": f"data:{media_type};base64,{base64.b64encode(data).decode()}"}
