"""Public ids of a job: `resp_X`, `video_X` and `msg_X` with one X."""

from __future__ import annotations

from functools import partial

from router.errors import UnknownJob
from router.jobs import JobStore
from router.runtime import logs
from router.storage.artifacts import JOB_ID, remove
from router.system import System
from router.values import Job


def job_id(public: str, prefix: str) -> str:
    """Return the X of `<prefix>_X`; raise `UnknownJob` for anything else."""
    head, _, tail = public.partition("_")
    if head != prefix or not JOB_ID.fullmatch(tail):
        raise UnknownJob(f"an id is {prefix}_ and 32 hexadecimal digits, got {public[:100]!r}")
    logs.job_id.set(tail)
    return tail


def find(jobs: JobStore, public: str, prefix: str, owner: str | None) -> Job:
    """Return the owner's job by its public id, anybody's for None; else raise `UnknownJob`."""
    job = jobs.get(job_id(public, prefix), owner)
    if job is None:
        raise unknown(public)
    return job


def forget(system: System, public: str, prefix: str, owner: str | None) -> None:
    """Delete the owner's job in any state; a running job stops after its step.

    Raises `UnknownJob` if there is none.
    """
    job, jobs = job_id(public, prefix), system.jobs
    delete = partial(jobs.delete, job, owner)
    if remove(system.artifacts, job, delete, allowed=lambda: jobs.get(job, owner) is not None) is None:
        raise unknown(public)


def unknown(public: str) -> UnknownJob:
    return UnknownJob(f"nothing is called {public}: it never was, or it was deleted")
