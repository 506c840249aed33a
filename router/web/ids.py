"""One job, three names: `resp_X`, `video_X` and `msg_X` share their X."""

from __future__ import annotations

from router.artifacts import JOB_ID
from router.errors import UnknownJob


def job_id(public: str, prefix: str) -> str:
    """Return the X of `<prefix>_X`; raise `UnknownJob` for anything else."""
    head, _, tail = public.partition("_")
    if head != prefix or not JOB_ID.fullmatch(tail):
        raise unknown(public)
    return tail


def unknown(public: str) -> UnknownJob:
    return UnknownJob(f"there is no {public[:100]!r}")
