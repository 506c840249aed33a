"""The end of a wait: finished jobs, or their caller's error."""

from dataclasses import dataclass

from router.errors import HttpError, Restarting, Unavailable, UnknownJob
from router.values import Failure, Job, Status
from router.web.access import idempotency_key
from router.web.job_group import JobGroup
from router.web.waiting.waiters import Waiters
from router.web.waiting.watch import Watch

NO_RETRY = (("x-should-retry", "false"),)
CLIENT_LEFT = 499  # for the log: nobody reads the answer


@dataclass(frozen=True)
class Outcome:
    """Judges the end of a wait; `path` is the job's, such as `/v1/videos/video_X`."""

    watch: Watch
    waiting: Waiters
    path: str
    keyed: bool

    def check(self) -> None:
        """Raise the error of a wait for a deleted, failed or unfinished job."""
        group = self.watch.group
        if self.watch.deleted:
            raise UnknownJob(f"{self.path} was deleted while this request waited for it")
        if self.waiting.draining and not group.finished:
            raise self._restarting()
        if group.whole.status is Status.FAILED:
            raise failed(group.whole)

    def completed(self) -> JobGroup:
        """Return the finished jobs, one at least with a file; else raise the error."""
        self.check()
        group = self.watch.group
        if not group.finished:
            message = f"the longest wait of a request is over and the job goes on: GET {self.path}"
            raise Unavailable(message, code="timed_out", headers=NO_RETRY)
        if not group.made:
            raise HttpError("the job was cancelled", code="cancelled", headers=NO_RETRY)
        return group

    def _restarting(self) -> Restarting:
        """Return the refusal of a restart; the job goes on."""
        # Only with an idempotency key does the same request come back to the job.
        again = "send this request again" if self.keyed else f"GET {self.path}"
        never = () if self.keyed else NO_RETRY
        return Restarting(f"the server restarts and the job goes on: {again}", headers=(("retry-after", "1"), *never))


def outcome(watch: Watch, waiting: Waiters, path: str) -> Outcome:
    """Return the outcome of this request's wait, good for a thread without the request."""
    return Outcome(watch, waiting, path, idempotency_key() is not None)


def failed(job: Job) -> HttpError:
    """Return the error of a failed job."""
    failure = job.failure or Failure(HttpError.code, "the job failed")
    return HttpError(failure.message, code=failure.code, headers=NO_RETRY)
