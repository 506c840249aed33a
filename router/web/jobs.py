"""Jobs of a caller, by their public ids `resp_X`, `video_X` and `image_X`."""

import hashlib
import secrets
from dataclasses import replace
from functools import partial

from flask import g

from router.errors import HttpError, UnknownJob
from router.intake.intake import Intake
from router.intake.resolve import DRAWN, SEEDS
from router.request import Request
from router.runtime import logs
from router.storage.artifacts import JOB_ID, remove
from router.system import System
from router.values import Job
from router.web.access import caller, idempotency_key, owner, share
from router.web.http.body import release_body


def submit(intake: Intake, request: Request) -> Job:
    """Queue a request of this caller and return its job; raises as `Intake.submit` does."""
    job = _submit(intake, request, idempotency_key())
    release_body()
    return job


def submit_images(system: System, intake: Intake, request: Request, count: int) -> Job:
    """Queue a request for several images and return the first image's job.

    The seeds count up. The other jobs are its siblings. Raises as `Intake.submit` does, and then leaves none of them.
    """
    if count == 1:
        return submit(intake, request)
    key = idempotency_key()
    seed = _first_seed(key) if request.seed is None else request.seed
    made: list[Job] = []
    wanted = replace(request, presentation=replace(request.presentation, attended=False))
    try:
        for number in range(count - 1, 0, -1):  # the first image comes last, when it can name the others
            name = key and hashlib.sha256(f"{key} {number}".encode()).hexdigest()
            made.append(_submit(intake, replace(wanted, seed=(seed + number) % SEEDS), name))
            again = intake.again(made[0])  # with the images that are stored now
            wanted = replace(again, names=request.names, params=request.params, warnings=made[0].warnings)
        siblings = tuple(job.id for job in reversed(made))
        presentation = replace(request.presentation, siblings=siblings)
        first = _submit(intake, replace(wanted, seed=seed, presentation=presentation), key)
    except (HttpError, FileNotFoundError):
        for job in made:
            _remove(system, job.id, job.owner)
        raise
    release_body()
    return first


def _submit(intake: Intake, request: Request, key: str | None) -> Job:
    by = caller()
    return intake.submit(request, owner=by.owner, request_id=g.request_id, key=key, api_key=by.key, share=share())


def _first_seed(key: str | None) -> int:
    """Return a seed, for an idempotency key always the same."""
    if key is None:
        return secrets.randbelow(DRAWN)
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6])


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
    for sibling in found.presentation.siblings if found else ():
        _remove(system, sibling, seen_by)
    if not _remove(system, job, seen_by):
        raise unknown(public)


def _remove(system: System, job: str, seen_by: str | None) -> bool:
    """Delete a job and its files; return whether there was one."""
    jobs = system.jobs
    delete = partial(jobs.delete, job, seen_by)
    return remove(system.artifacts, job, delete, allowed=lambda: jobs.get(job, seen_by) is not None) is not None


def unknown(public: str) -> UnknownJob:
    return UnknownJob(f"{public} was not found: it never was, or it was deleted")
