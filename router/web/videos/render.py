"""A job as a Video of OpenAI's Videos API: its 13 keys, whatever the job's state."""

from __future__ import annotations

from typing import Any

from router.values import Job, Phase, Status
from router.web.responses.render import error, unfinished, used

STATUS = {Status.CANCELLED: Status.FAILED}  # that API has no other word
CANCELLED = {"code": "cancelled", "message": "the job was cancelled"}
SOONEST, LATEST = 500, 5000  # milliseconds between two polls
QUEUED = 1000  # milliseconds for each job that comes before


def video(job: Job, keep_seconds: float) -> dict[str, Any]:
    """Return the object, which expires so long after its job has finished.

    Extra keys say what was used, what was adjusted, and how far the job is.
    """
    task, done = job.task, job.status is Status.COMPLETED
    return {
        "id": f"video_{job.id}",
        "object": "video",
        "model": job.model,
        "status": STATUS.get(job.status, job.status),
        "created_at": int(job.created_at),
        "completed_at": int(job.finished_at) if job.finished_at and done else None,
        "expires_at": int(job.finished_at + keep_seconds) if job.finished_at and done else None,
        "prompt": task.prompt,
        "size": f"{task.width}x{task.height}",
        "seconds": _seconds(job),
        "remixed_from_video_id": f"video_{source}" if (source := job.presentation.remixed_from) else None,
        "error": CANCELLED if job.status is Status.CANCELLED else error(job),
        "seed": task.seed,
        "provider_options": {"video": used(job)},
        "warnings": list(job.warnings),
        **({} if job.status.finished else unfinished(job)),
        "progress": 100 if done else job.progress.percent if job.progress else 0,
    }


def poll_after_ms(job: Job, now: float) -> int:
    """Return when to ask for an unfinished job again, in milliseconds, at `now` seconds since 1970.

    A tenth of the time that its steps will take if they go on as they did, a second for each job until its turn;
    the SDKs take the first answer for all their polls.
    """
    wait = float(QUEUED * (1 + (job.ahead or 0)))
    if job.progress and job.progress.phase is Phase.STEP and job.started_at is not None:
        percent = max(job.progress.percent, 1)
        wait = 100 * (now - job.started_at) * (100 - percent) / percent
    return round(min(max(wait, SOONEST), LATEST))


def _seconds(job: Job) -> str:
    """Return the length as it was asked for, else as it is: the SDKs want text, and some of them a whole number."""
    asked = job.presentation.seconds
    length = job.task.num_frames / job.task.frames_per_second if asked is None else asked
    return f"{length:.4f}".rstrip("0").rstrip(".")
