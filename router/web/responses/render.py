"""A job as an Open Responses resource: all 31 keys, whatever its state."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from router.auth.signed_urls import Links
from router.storage.artifacts import ArtifactStore
from router.values import Artifact, Job, OutputPart, Presentation, Status, Task

DEFAULTS: dict[str, Any] = {
    "previous_response_id": None,
    "instructions": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": False,
    "text": {"format": {"type": "text"}},
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "temperature": 1,
    "reasoning": None,
    "usage": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": True,
    "background": True,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}


class Rendering:
    """Knows where the files are, which address stands before their paths, and what opens them."""

    def __init__(self, artifacts: ArtifactStore, public_url: str, links: Links) -> None:
        self._artifacts = artifacts
        self._public_url = public_url.rstrip("/")
        self._links = links

    def response(self, job: Job) -> dict[str, Any]:
        """Return the resource; extra keys say what was used, what was adjusted, and how far the job is."""
        inline = job.presentation.inline
        resource = {
            **core(job, self.output(job, inline=inline)),
            "provider_options": {"video": used(job)},
            "warnings": list(job.warnings),
        }
        return resource if job.status.finished else {**resource, **unfinished(job)}

    def deleted(self, job: Job) -> dict[str, Any]:
        """Return the resource of a job that was deleted while somebody waited for it, as one that was cancelled."""
        ended = replace(job, status=Status.CANCELLED, artifact=None, failure=None)
        return {**self.response(ended), "incomplete_details": {"reason": "deleted"}}

    def output(self, job: Job, *, inline: bool = False) -> list[dict[str, Any]]:
        """Return the message that holds the video or image, where there is one; `inline` as base64."""
        return [self._message(job, job.artifact, inline)] if job.artifact else []

    def _message(self, job: Job, artifact: Artifact, inline: bool) -> dict[str, Any]:
        return {
            "type": "message",
            "id": f"msg_{job.id}",
            "status": "completed",
            "role": "assistant",
            "content": [self._part(job, artifact, inline)],
        }

    def _part(self, job: Job, artifact: Artifact, inline: bool) -> dict[str, Any]:
        kind = artifact.media_type.partition("/")[0]
        url = self._public_url + self._links.to(f"/v1/{kind}s/{kind}_{job.id}/content")
        wants_text = job.presentation.part is OutputPart.TEXT
        shape = {"type": "output_text", "text": url, "annotations": [], "logprobs": []} if wants_text else {}
        data = self._data(job) if inline else None
        return {
            "type": f"output_{kind}",
            **shape,
            **({f"{kind}_url": url} if data is None else {f"{kind}_data": data}),
            "format": artifact.media_type.partition("/")[2],
            "frames_per_second": artifact.frames_per_second,
            "num_frames": artifact.num_frames,
            "width": artifact.width,
            "height": artifact.height,
        }

    def _data(self, job: Job) -> str | None:
        path = self._artifacts.output(job)
        try:
            return base64.b64encode(path.read_bytes()).decode() if path else None
        except FileNotFoundError:  # deleted this very moment
            return None


def core(job: Job, output: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the 31 keys that every response has, the caller's own values among them."""
    cancelled = job.status is Status.CANCELLED
    return {
        "id": f"resp_{job.id}",
        "object": "response",
        "created_at": int(job.created_at),
        "completed_at": int(job.finished_at) if job.finished_at and job.status is Status.COMPLETED else None,
        "status": job.status,
        "incomplete_details": {"reason": "cancelled"} if cancelled else None,
        "model": job.model,
        "output": list(output),
        "error": error(job),
        **DEFAULTS,
        **_repeated(job.presentation),
    }


def _repeated(shown: Presentation) -> dict[str, Any]:
    own = ("instructions", "store", "background", "metadata")
    return {**{name: getattr(shown, name) for name in own}, **shown.echoed}


def error(job: Job) -> dict[str, str] | None:
    """Return why the job failed, None if it did not."""
    return {"code": job.failure.code, "message": job.failure.message} if job.failure else None


def used(job: Job) -> dict[str, Any]:
    """Return the effective options: sending them back gives the same video."""
    task: Task = job.task
    return {
        "seed": task.seed,
        "width": task.width,
        "height": task.height,
        "num_frames": task.num_frames,
        "frames_per_second": task.frames_per_second,
        "steps": task.steps,
        "guidance_scale": task.guidance_scale,
        "guidance_scale_2": task.guidance_scale_2,
        "flow_shift": task.flow_shift,
        "negative_prompt": task.negative_prompt,
        "response_format": "b64_json" if job.presentation.inline else "url",
    }


def unfinished(job: Job) -> dict[str, Any]:
    progress = job.progress
    return {
        "progress": progress.percent if progress else 0,
        "phase": progress.phase if progress else None,
        "steps_done": progress.done if progress and progress.phase == "step" else None,
        "queue_position": job.ahead + 1 if job.ahead is not None else None,
        "remaining_seconds": round(job.remaining, 1) if job.remaining is not None else None,
    }
