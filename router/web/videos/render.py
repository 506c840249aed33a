"""Render a job as a Video of OpenAI's Videos API."""

from __future__ import annotations

from typing import Any

from router.values import Job, Phase, Status
from router.web.videos.answers import Video

VIDEO = Video()
SOONEST, LATEST = 500, 5000  # milliseconds between two polls
QUEUED = 1000  # milliseconds for each job that comes before


def video(job: Job, keep_seconds: float) -> dict[str, Any]:
    """Return the object; a completed video expires `keep_seconds` after its job has finished."""
    ends = job.finished_at and job.status is Status.COMPLETED
    return {**VIDEO.dump(job), "expires_at": int(job.finished_at + keep_seconds) if ends and job.finished_at else None}


def poll_after_ms(job: Job, now: float) -> int:
    """Return the milliseconds until the next poll; `now` is seconds since 1970."""
    # A tenth of the time that the steps will take at their measured rate, a second for each job ahead;
    # the SDKs take the first answer for all their polls.
    wait = float(QUEUED * (1 + (job.ahead or 0)))
    if job.progress and job.progress.phase is Phase.STEP and job.started_at is not None:
        percent = max(job.progress.percent, 1)
        wait = 100 * (now - job.started_at) * (100 - percent) / percent
    return round(min(max(wait, SOONEST), LATEST))
