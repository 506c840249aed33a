"""One attempt at a job: load, generate, encode, finish."""

import errno
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from registry import BrokenModel, Input, ModelSpec
from router.engine.adapters import with_adapters
from router.engine.heartbeat import Beat
from router.engine.previews import Previews
from router.engine.reporter import Phases, Reporter
from router.engine.residency import Resident
from router.engine.step_timer import StepTimer
from router.errors import (
    DeviceLost,
    DiskFull,
    EngineError,
    GenerationFailed,
    JobCancelled,
    LoadFailed,
    OutOfMemory,
    is_disk_full,
    is_unwritable,
)
from router.media import Decoders
from router.media.pixels import decode, fit
from router.plugins import missing, missing_message
from router.runtime.server_paths import ServerPaths
from router.storage.artifacts import digest
from router.system import System
from router.tokens import merged
from router.values import Artifact, Failure, Frames, Job, Lease, Phase, Status, Task

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

    def run(self) -> None:
        """Finish or fail the job.

        Raises `DeviceLost` when the engine cannot go on, and the store's error when neither end can be stored: the
        lease expires then, and the job is tried again.
        """
        lease, job = self.lease, self.job
        previews = Previews(self.system.artifacts, job.id)
        known = self.system.timings.of(job.model, job.task.shape)
        timer = StepTimer(job.model, job.task.steps, known, self.system.metrics)
        seconds = self.system.settings.job_seconds
        reporter = Reporter(self.system.jobs, lease, self.beat, previews, timer, seconds=seconds)
        try:
            done = self._make(reporter)
            timer.end()
        except JobCancelled:
            log.info("stopped: cancelled, deleted or given back")
            return
        except DeviceLost:
            log.exception("the device cannot be used any more: this engine ends, and the job is tried again")
            raise
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and not is_disk_full(error):
                raise
            done = self._fail(error, reporter.current)
        finally:
            previews.clear()
        if done is not None:
            self.system.plugins.announce(done)
            if done.status is Status.COMPLETED and (timing := timer.timing()):
                self.system.timings.learn(job.model, job.task.shape, timing)

    def _fail(self, error: Exception, phase: Phase) -> Job | None:
        failure = _failure(error, phase)
        failed = self.system.jobs.fail(self.lease, replace(failure, message=self._hide(failure.message)))
        if failed is None:
            log.info("stopped: cancelled, deleted or given back, and so: %r", error)
        else:
            log.log(logging.WARNING if isinstance(error, EngineError) else logging.ERROR, "failed", exc_info=error)
        return failed

    def _hide(self, text: str) -> str:
        return ServerPaths(self.system.settings.folders).hide(text)

    def _make(self, reporter: Reporter) -> Job | None:
        model = self.system.registries.model(self.job.model, self.job.revision)
        if model is None:
            entry = self.system.registries.poll().find(self.job.model)
            gone = "the model of this job is not served any more"
            raise LoadFailed(entry.reason if isinstance(entry, BrokenModel) else gone)
        if missing(backend := self.system.plugins.backends[model.backend]):
            raise LoadFailed(f"no engine can run {model.name}: {missing_message(backend)}")
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
            done = self.system.jobs.finish(lease, artifact, warnings)
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


def _failure(error: Exception, phase: Phase) -> Failure:
    """Return the failure as the caller may know it."""
    # of our own errors that is the message, of all others the phase: a stranger's text may name paths or secrets
    if isinstance(error, EngineError):
        return Failure(error.code, error.message)
    if is_disk_full(error):
        return Failure(DiskFull.code, "the server's disk is full")
    if is_unwritable(error):
        what = "is read-only" if getattr(error, "errno", None) == errno.EROFS else "failed"
        return Failure(GenerationFailed.code, f"the video could not be written: the server's disk {what}")
    if isinstance(error, MemoryError):
        return Failure(OutOfMemory.code, "the server ran out of memory: ask for fewer frames or a smaller size")
    if phase in (Phase.LOAD, Phase.DOWNLOAD):
        return Failure("load_failed", "the model could not be loaded; the server's log has the reason")
    return Failure(GenerationFailed.code, "the video could not be generated; the server's log has the reason")
