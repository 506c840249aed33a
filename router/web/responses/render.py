"""Render a job as an Open Responses resource, and its input as messages."""

import base64
from dataclasses import replace
from typing import Any

from router.errors import HttpError
from router.jobs import JobStore
from router.storage.artifacts import ArtifactStore
from router.values import Job, OutputPart, Status, StoredInput
from router.web.file_links import FileLinks, kind_of
from router.web.finished_files import FinishedFiles, format_of
from router.web.job_group import JobGroup
from router.web.jobs import unknown
from router.web.responses import answers
from router.web.responses.usage import Usage, used
from router.web.waiting.watch import Watch

RESPONSE, MESSAGE = answers.Response(), answers.Message()
USAGE = Usage()
PARTS = {"video": answers.OutputVideo(), "image": answers.OutputImage(), "text": answers.OutputText()}
MESSAGE_IN, IMAGE_IN, TEXT_IN = answers.StoredMessage(), answers.StoredImage(), answers.StoredText()
IMAGES = "message.input_image.image_url"  # the value of `include` that asks for the images themselves


class Rendering:
    """Renders responses with links to the files, or the files themselves."""

    def __init__(self, jobs: JobStore, files: FinishedFiles, links: FileLinks) -> None:
        self._jobs = jobs
        self._files = files
        self._links = links

    def response(self, job: Job) -> dict[str, Any]:
        """Return the resource; several images are completed together."""
        group = self._group(job)
        output = self._output(group, inline=job.presentation.inline)
        resource = {**RESPONSE.dump(group.whole), "output": output}
        if group.siblings and group.finished:
            usage = used(group.jobs)
            resource["usage"] = usage and USAGE.dump(usage)
        if output and group.siblings:
            resource["warnings"] = [*job.warnings, *group.warnings]
        return resource

    def ended(self, watch: Watch) -> dict[str, Any]:
        """Return the resource at the end of a wait."""
        return self.deleted(watch.job) if watch.deleted else self.response(watch.job)

    def deleted(self, job: Job) -> dict[str, Any]:
        """Return the resource of a job deleted under a waiting caller: a cancelled one."""
        alone = replace(job.presentation, siblings=())
        ended = replace(job, status=Status.CANCELLED, artifact=None, failure=None, presentation=alone)
        return {**self.response(ended), "incomplete_details": {"reason": "deleted"}}

    def output(self, job: Job, *, inline: bool = False) -> list[dict[str, Any]]:
        """Return the message with the finished files; `inline` has them in base64."""
        return self._output(self._group(job), inline=inline)

    def _group(self, job: Job) -> JobGroup:
        return JobGroup.of(job, self._jobs.get)

    def _output(self, group: JobGroup, *, inline: bool) -> list[dict[str, Any]]:
        made, first = group.made, group.first
        if not (made and group.finished):
            return []
        content = [self._part(each, inline) for each in made]
        if first.presentation.text_output:
            content.append(self._text(made[0], "\n".join(map(self._links.of, made))))
        return [MESSAGE.dump({"id": f"msg_{first.id}", "status": "completed", "content": content})]

    def _part(self, job: Job, inline: bool) -> dict[str, Any]:
        if job.presentation.part is OutputPart.TEXT and not job.presentation.text_output:
            return self._text(job, self._links.of(job))
        kind, data = kind_of(job), self._data(job) if inline else None
        file = {f"{kind}_url": self._links.of(job)} if data is None else {f"{kind}_data": data}
        return PARTS[kind].dump({**_shape(job), **file})

    def _text(self, job: Job, text: str) -> dict[str, Any]:
        return PARTS["text"].dump({**_shape(job), f"{kind_of(job)}_url": self._links.of(job), "text": text})

    def _data(self, job: Job) -> str | None:
        try:
            return base64.b64encode(self._files.read(f"resp_{job.id}", job)).decode()
        except HttpError:  # deleted this very moment, or lost
            return None


def _shape(job: Job) -> dict[str, Any]:
    """Return the size, rate and format of a finished file."""
    return {**vars(job.artifact), "format": format_of(job)}


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
