"""The end of a wait: a finished job, or its caller's error."""

from math import inf

from router.errors import HttpError, Restarting, Unavailable, UnknownJob
from router.system import System
from router.values import Failure, Job, Status
from router.web.access import idempotency_key
from router.web.waiting.waiters import Waiters
from router.web.waiting.watch import Watch

NO_RETRY = (("x-should-retry", "false"),)
CLIENT_LEFT = 499  # for the log: nobody reads the answer


def check(watch: Watch, path: str, *, draining: bool) -> None:
    """Raise the error of a wait for a deleted, failed or unfinished job.

    `path` is the job's, such as `/v1/responses/resp_X`.
    """
    if watch.deleted:
        raise UnknownJob(f"{path} was deleted while this request waited for it")
    if draining and not watch.job.status.finished:
        raise _restarting(path)
    if watch.job.status is Status.FAILED:
        raise failed(watch.job)


def check_completed(watch: Watch, path: str, *, draining: bool) -> None:
    """Raise the error of a wait that ended without a file."""
    check(watch, path, draining=draining)
    if watch.job.status is Status.CANCELLED:
        raise HttpError("the job was cancelled", code="cancelled", headers=NO_RETRY)
    if watch.job.status is not Status.COMPLETED:
        message = f"the longest wait of a request is over and the job goes on: GET {path}"
        raise Unavailable(message, code="timed_out", headers=NO_RETRY)


def siblings(job: Job, system: System, waiting: Waiters) -> list[Job]:
    """Wait for the siblings of a job and return them; raises as `check_completed`."""
    return [_sibling(found, job, system, waiting) for found in job.presentation.siblings]


def _sibling(found: str, job: Job, system: System, waiting: Waiters) -> Job:
    path = f"/v1/responses/resp_{found}"
    sibling = system.jobs.get(found, job.owner)
    if sibling is None:
        raise UnknownJob(f"{path} was deleted while this request waited for it")
    with waiting.watch(sibling, None) as watch:
        watch.ended(inf)
    check_completed(watch, path, draining=waiting.draining)
    return watch.job


def failed(job: Job) -> HttpError:
    """Return the error of a failed job."""
    failure = job.failure or Failure(HttpError.code, "the job failed")
    return HttpError(failure.message, code=failure.code, headers=NO_RETRY)


def _restarting(path: str) -> Restarting:
    """Return the refusal of a restart; the job goes on."""
    keyed = idempotency_key() is not None
    # Only with an idempotency key does the same request come back to the job.
    again = "send this request again" if keyed else f"GET {path}"
    never = () if keyed else NO_RETRY
    return Restarting(f"the server restarts and the job goes on: {again}", headers=(("retry-after", "1"), *never))
