"""The jobs of one request: several for several images, else one."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from router.values import Job, Status


@dataclass(frozen=True)
class JobGroup:
    """A job and its siblings; a deleted sibling is None."""

    first: Job
    siblings: tuple[Job | None, ...] = ()

    @classmethod
    def of(cls, job: Job, get: Callable[[str, str], Job | None]) -> "JobGroup":
        """Return the group of a job; `get` finds jobs by id and owner."""
        return cls(job, tuple(get(sibling, job.owner) for sibling in job.presentation.siblings))

    @property
    def finished(self) -> bool:
        return self.first.status.finished and all(job is None or job.status.finished for job in self.siblings)

    @property
    def jobs(self) -> list[Job]:
        """The jobs that are not deleted."""
        return [job for job in (self.first, *self.siblings) if job is not None]

    @property
    def made(self) -> list[Job]:
        """The jobs with a file."""
        return [job for job in self.jobs if job.artifact is not None]

    @property
    def whole(self) -> Job:
        """The first job in the state of all: completed if any was."""
        if not self.siblings or not self.first.status.finished:
            return self.first
        if not self.finished:
            unfinished = replace(self.first, status=Status.IN_PROGRESS, finished_at=None)
            return replace(unfinished, artifact=None, failure=None, usage=None)
        if not self.made:
            return self.first
        ends = [job.finished_at for job in self.made if job.finished_at is not None]
        return replace(self.first, status=Status.COMPLETED, failure=None, finished_at=max(ends, default=None))

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warning about images without a file, once all jobs have finished."""
        wanted, made = 1 + len(self.siblings), len(self.made)
        if not self.finished or made in (0, wanted):
            return ()
        return (f"{made} of {wanted} images are here: the others failed, were cancelled or deleted",)
