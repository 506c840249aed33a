"""The end of a wait: finished jobs, or their caller's error."""

from dataclasses import dataclass

from router.errors import HttpError, Restarting, Unavailable, UnknownJob
from router.values import Failure, Job, Status
from router.web.access import idempotency_key
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
        watch = self.watch
        made = [watch.job, *watch.siblings]
        if watch.deleted or None in made:
            raise UnknownJob(f"{self.path} was deleted while this request waited for it")
        for job in filter(None, made):
            if job.status is Status.FAILED:
                raise failed(job)
        if watch.job.status is not Status.CANCELLED and any(job and job.status is Status.CANCELLED for job in made):
            raise _cancelled()
        if self.waiting.draining and not all(job and job.status.finished for job in made):
            raise self._restarting()

    def completed(self) -> list[Job]:
        """Return the completed jobs; raise the error of any other end."""
        self.check()
        made = [self.watch.job, *filter(None, self.watch.siblings)]
        if self.watch.job.status is Status.CANCELLED:
            raise _cancelled()
        if any(job.status is not Status.COMPLETED for job in made):
            message = f"the longest wait of a request is over and the job goes on: GET {self.path}"
            raise Unavailable(message, code="timed_out", headers=NO_RETRY)
        return made

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


def _cancelled() -> HttpError:
    return HttpError("the job was cancelled", code="cancelled", headers=NO_RETRY)
