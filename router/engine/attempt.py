"""One attempt at a job: load, generate, encode, finish."""

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from registry import BrokenModel, Input, ModelSpec
from router.engine.adapters import with_adapters
from router.engine.failures import cause_of, failure_of
from router.engine.heartbeat import Beat
from router.engine.job_timer import JobTimer
from router.engine.outages import JobEnd, outlast
from router.engine.previews import Previews
from router.engine.reporter import Phases, Reporter
from router.engine.residency import Resident
from router.errors import DeviceLost, EngineError, GenerationFailed, JobCancelled, LoadFailed, is_disk_full
from router.media import Decoders
from router.media.pixels import decode, fit
from router.plugins import missing, missing_message
from router.runtime.server_paths import ServerPaths
from router.storage.artifacts import digest
from router.system import System
from router.tokens import merged
from router.values import Artifact, Estimate, Frames, Job, Lease, Phase, Status, Task, Usage

MEDIA_TYPES = {".mp4": "video/mp4", ".png": "image/png"}
Load = Callable[[ModelSpec, Phases], Resident]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One attempt at a claimed job, whose failures end this job alone."""

    system: System
    lease: Lease
    job: Job
    load: Load
    beat: Beat
    kind: str  # of the device
    load_seconds: float = 0.0  # expected until the model is on the device

    def run(self) -> None:
        """Finish or fail the job.

        An outage of a shared store is waited out. Raises `DeviceLost` when the engine cannot go on, and the store's
        error when neither end can be stored: the lease expires then, and the job is tried again.
        """
        job, metrics = self.job, self.system.metrics
        previews = Previews(self.system.artifacts, job.id)
        model, expected = outlast(self._known, lambda: self.beat(Phase.LOAD))
        seconds = expected.seconds if expected else None
        timer = JobTimer(job.model, job.task.steps, seconds, metrics, load_seconds=self.load_seconds)
        longest = self.system.settings.job_seconds
        reporter = Reporter(self.system.jobs, self.lease, self.beat, previews, timer, seconds=longest)
        done = None
        try:
            done = self._make(model, reporter)
        except JobCancelled:
            log.info("stopped: cancelled, deleted or given back")
        except DeviceLost:
            log.exception("the device cannot be used any more: this engine ends, and the job is tried again")
            raise
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and not is_disk_full(error):
                raise
            done = self._fail(error, reporter)
        finally:
            previews.clear()
        if done is None:
            self._end(reporter).book(_used(timer))
            return
        self.system.plugins.announce(done)
        if model is not None and done.status is Status.COMPLETED:
            self._learn(model, expected, timer)

    def _known(self) -> tuple[ModelSpec | None, Estimate | None]:
        """Return the job's model, and what it is expected to take."""
        model = self.system.registries.model(self.job.model, self.job.revision)
        return model, self.system.timings.estimate(model, self.job.task, (self.kind,)) if model else None

    def _end(self, reporter: Reporter) -> JobEnd:
        return JobEnd(self.system.jobs, self.lease, lambda: self.beat(reporter.current))

    def _learn(self, model: ModelSpec, expected: Estimate | None, timer: JobTimer) -> None:
        if (taken := timer.seconds()) is None:
            return
        if expected is not None:
            self.system.metrics.estimated(model.name, expected, taken)
        self.system.timings.learn(self.kind, model, self.job.task, taken, is_split=timer.is_split)
        self._estimate_queued()

    def _estimate_queued(self) -> None:
        """Estimate the jobs that were queued before any was measured."""
        system, found = self.system, dict[str, float]()
        for job in system.jobs.unestimated():
            model = system.registries.model(job.model, job.revision)
            if model and (expected := system.timings.estimate(model, job.task, (self.kind,))):
                found[job.id] = expected.seconds.total
        system.jobs.estimate(found)

    def _fail(self, error: Exception, reporter: Reporter) -> Job | None:
        failure = failure_of(error, reporter.current)
        failure = replace(failure, message=self._hide(failure.message))
        failed = self._end(reporter).fail(failure, _used(reporter.timer), cause_of(error))
        if failed is None:
            log.info("stopped: cancelled, deleted or given back, and so: %r", error)
        else:
            log.log(logging.WARNING if isinstance(error, EngineError) else logging.ERROR, "failed", exc_info=error)
        return failed

    def _hide(self, text: str) -> str:
        return ServerPaths(self.system.settings.folders).hide(text)

    def _make(self, model: ModelSpec | None, reporter: Reporter) -> Job | None:
        if model is None:
            entry = self.system.registries.poll().find(self.job.model)
            gone = "the model of this job is not served any more"
            raise LoadFailed(entry.reason if isinstance(entry, BrokenModel) else gone)
        if missing(backend := self.system.plugins.backends[model.backend]):
            raise LoadFailed(f"no engine can run {model.name}: {missing_message(backend)}")
        with reporter.timer.loading():
            resident = self.load(model, reporter.phase)
            model = with_adapters(self.system.weights, resident.model, self.job.task, reporter.phase)
        task = self._with_images()
        reporter.phase(Phase.STEP)(0, task.steps)
        generate = self.system.plugins.hook_for("generate", model)
        frames = generate(model=model, loaded=resident.loaded, task=task, report=reporter.phase(Phase.STEP))
        if not isinstance(frames, Frames):
            raise GenerationFailed(f"the backend {model.backend} made no frames for {model.name}")
        return self._deliver(model, frames, reporter)

    def _deliver(self, model: ModelSpec, frames: Frames, reporter: Reporter) -> Job | None:
        """Encode, publish, finish; discard the file if the lease was lost."""
        lease, job, artifacts = self.lease, self.job, self.system.artifacts
        path = artifacts.part(job.id, lease.attempt, ".png" if frames.num_frames == 1 else ".mp4")
        done = None
        pixels = reporter.counting(frames)
        try:
            encode = self.system.plugins.hook_for("encode_output", model)
            written = encode(model=model, frames=replace(frames, pixels=pixels), path=path)
            if not written:
                raise GenerationFailed(f"no plugin of this engine writes {path.suffix} files")
            path = artifacts.publish(path)
            artifact = _artifact(path, frames)
            warnings = merged(job.warnings, tuple(map(self._hide, (*frames.warnings, *frames.late_warnings()))))
            reporter.timer.end()
            done = self._end(reporter).finish(artifact, warnings, _used(reporter.timer, frames))
        finally:
            pixels.close()
            if done is None:
                artifacts.discard(path)
        return done

    def _with_images(self) -> Task:
        """Return the task with its images, decoded at its size."""
        task = self.job.task
        for stored in self.job.inputs:
            data = self.system.artifacts.read_input(self.job.id, stored.name)
            if not stored.png_size:  # an older version stored it as it was received: decode it in a child
                with closing(Decoders()) as decoders:
                    data = decoders.prepare(data, (task.width, task.height)).png
            pixels = decode(data)
            fitted = fit(pixels, task.width, task.height)
            task = replace(task, image=fitted) if stored.role is Input.IMAGE else replace(task, last_image=fitted)
        return task


def _used(timer: JobTimer, frames: Frames | None = None) -> Usage:
    """Return what an attempt has used, and delivered."""
    if frames is None:
        return Usage(timer.work, timer.steps)
    pixels = frames.num_frames * frames.width * frames.height
    return Usage(timer.work, timer.steps, frames.num_frames, pixels)


def _artifact(path: Path, frames: Frames) -> Artifact:
    return Artifact(
        name=path.name,
        media_type=MEDIA_TYPES[path.suffix],
        sha256=digest(path),
        size=path.stat().st_size,
        width=frames.width,
        height=frames.height,
        num_frames=frames.num_frames,
        frames_per_second=frames.frames_per_second,
    )
