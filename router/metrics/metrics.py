"""The counting calls of a process; each takes a few microseconds."""

from hashlib import sha256
from pathlib import Path

from router.hookspecs import hookimpl
from router.metrics import definitions as metric
from router.metrics.tally import Tally
from router.values import Estimate, Job, Phase, Status, WorkSeconds

LEAST_SECONDS = 0.001  # of a job, as a divisor


class Metrics:
    """Counts events of this process, and of jobs as a plugin."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "metrics" / _version()
        self._tally = Tally(self.folder)

    @hookimpl
    def job_changed(self, job: Job) -> None:
        if job.status is Status.QUEUED and job.attempt == 0:
            self._tally.count(metric.ACCEPTED, job.model)
        elif job.status is Status.IN_PROGRESS and job.attempt == 1 and job.started_at is not None:
            self._tally.observe(metric.QUEUE, max(job.started_at - job.created_at, 0.0), job.model)
        elif job.status.finished:
            outcome = metric.code_label(job.failure.code) if job.failure else job.status
            self._tally.count(metric.FINISHED, job.model, outcome)

    def answered(self, status: int, code: str | None) -> None:
        self._tally.count(metric.REQUESTS, f"{status // 100}xx")
        if code is not None:
            self._tally.count(metric.REFUSALS, metric.code_label(code))

    def loaded(self, model: str, device: str) -> None:
        self._tally.count(metric.LOADS, device, model)

    def evicted(self, model: str, device: str) -> None:
        self._tally.count(metric.EVICTIONS, device, model)

    def phase_ended(self, model: str, phase: Phase, seconds: float) -> None:
        self._tally.observe(metric.PHASE, seconds, model, phase)

    def estimated(self, model: str, expected: Estimate, taken: WorkSeconds) -> None:
        """Observe the error of an estimate, as a share of the taken seconds."""
        error = abs(expected.seconds.total - taken.total) / max(taken.total, LEAST_SECONDS)
        self._tally.observe(metric.ESTIMATE_ERROR, error, model, expected.basis)

    def step_done(self, model: str, seconds: float) -> None:
        self._tally.observe(metric.STEP, seconds, model)


def _version() -> str:
    """Return a digest of the definitions."""
    # names the folder: files of other definitions cannot be summed with ours
    shapes = [(each.name, each.kind.value, each.labels, each.buckets) for each in metric.DEFINITIONS]
    return sha256(repr(shapes).encode()).hexdigest()[:8]
