"""The work of finished jobs, in the answers of all dialects."""

from collections.abc import Iterable
from typing import Any

from router.values import Job, Usage
from router.web.answer_fields import Answer, integer, number
from router.web.answers import seconds_taken

NOTHING = Usage()


class JobUsage(Answer):
    """The work of finished jobs; of a cancelled one it may come later."""

    gpu_seconds = number("of the job's own work on a device; loads of models are the server's")
    steps = integer("denoising steps that were done")
    frames = integer("frames that were made")
    pixels = integer("pixels of each frame; 0 without one")
    cost = number("the seconds times the price of the model, where it has one", sometimes=True)


def usage_of(job: Job) -> Usage | None:
    """Return the work of a finished job; None while it is unknown."""
    made = job.artifact
    if job.usage is not None or made is None:
        return job.usage
    frames = made.num_frames  # of an older version, without a usage: its seconds have the load of the model in them
    return Usage(seconds_taken(job), job.task.steps, frames, frames * made.width * made.height)


def shown(jobs: Iterable[Job]) -> dict[str, Any] | None:
    """Return the work of finished jobs together, as `JobUsage`; None while none is known."""
    known = [(job, used) for job in jobs if (used := usage_of(job)) is not None]
    if not known:
        return None
    used = sum((used for _, used in known), NOTHING)
    pixels = used.pixels // used.frames if used.frames else 0  # those of one request have one size
    usage = {"gpu_seconds": round(used.gpu_seconds, 3), "steps": used.steps, "frames": used.frames, "pixels": pixels}
    return usage | ({"cost": round(used.cost, 6)} if any(job.price is not None for job, _ in known) else {})
