"""Render a job as an Open Responses resource: all 31 keys in any state."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from router.auth.signed_urls import SignedUrls
from router.storage.artifacts import ArtifactStore
from router.values import Job, OutputPart, Status
from router.web.responses.answers import Message, Output, OutputImage, OutputText, OutputVideo, Response

RESPONSE = Response()
MESSAGE = Message()
PARTS = {"video": OutputVideo(), "image": OutputImage(), "text": OutputText()}


class Rendering:
    """Renders responses with links to the files, at `public_url` and signed by `links`."""

    def __init__(self, artifacts: ArtifactStore, public_url: str, links: SignedUrls) -> None:
        self._artifacts = artifacts
        self._public_url = public_url.rstrip("/")
        self._links = links

    def response(self, job: Job) -> dict[str, Any]:
        return {**RESPONSE.dump(job), "output": self.output(job, inline=job.presentation.inline)}

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
        output = Output(job.artifact, kind, url, self._data(job) if inline else None)
        part = PARTS["text" if job.presentation.part is OutputPart.TEXT else kind].dump(output)
        return [MESSAGE.dump({"id": f"msg_{job.id}", "status": "completed", "content": [part]})]

    def _data(self, job: Job) -> str | None:
        path = self._artifacts.output(job)
        try:
            return base64.b64encode(path.read_bytes()).decode() if path else None
        except FileNotFoundError:  # deleted this very moment
            return None
