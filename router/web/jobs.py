"""Jobs of a caller, by their public ids `resp_X`, `video_X` and `image_X`."""

from functools import partial

from flask import g

from router.errors import UnknownJob
from router.intake.intake import Intake
from router.request import Request
from router.runtime import logs
from router.storage.artifacts import JOB_ID, remove
from router.system import System
from router.values import Job
from router.web.access import caller, idempotency_key, owner, share
from router.web.http.body import release_body


def submit(intake: Intake, request: Request) -> Job:
    """Queue a request of this caller and return its job; raises as `Intake.submit` does."""
    by = caller()
    job = intake.submit(
        request, owner=by.owner, request_id=g.request_id, key=idempotency_key(), api_key=by.key, share=share()
    )
    release_body()
    return job


def job_id(public: str, prefix: str) -> str:
    """Return the X of `<prefix>_X`; raise `UnknownJob` for anything else."""
    head, _, tail = public.partition("_")
    if head != prefix or not JOB_ID.fullmatch(tail):
        raise UnknownJob(f"not found: an id is {prefix}_ and 32 hexadecimal digits, got {public[:100]!r}")
    logs.job_id.set(tail)
    return tail


def find(system: System, public: str, prefix: str) -> Job:
    """Return the job that the caller sees by this id; else raise `UnknownJob`."""
    job = system.jobs.get(job_id(public, prefix), owner())
    if job is None:
        raise unknown(public)
    return job


def forget(system: System, public: str, prefix: str) -> None:
    """Delete a job in any state; a running job stops after its step.

    Raises `UnknownJob` if the caller sees none.
    """
    job, seen_by = job_id(public, prefix), owner()
    found = system.jobs.get(job, seen_by)
    if not _remove(system, job, seen_by):
        raise unknown(public)
    for sibling in found.presentation.siblings if found else ():
        _remove(system, sibling, seen_by)


def _remove(system: System, job: str, seen_by: str | None) -> bool:
    """Delete a job and its files; return whether there was one."""
    jobs = system.jobs
    delete = partial(jobs.delete, job, seen_by)
    return remove(system.artifacts, job, delete, allowed=lambda: jobs.get(job, seen_by) is not None) is not None


def unknown(public: str) -> UnknownJob:
    return UnknownJob(f"{public} was not found: it never was, or it was deleted")
