"""One attempt at one job: load, generate, encode, finish; whatever goes wrong stays with it."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from registry import BrokenModel, Input, ModelSpec
from router import media
from router.engine.heartbeat import Beat
from router.engine.previews import Previews
from router.engine.reporter import Reporter
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
from router.plugins import missing, wanted
from router.runtime.server_paths import ServerPaths
from router.storage.artifacts import digest
from router.system import System
from router.tokens import merged
from router.values import Artifact, Failure, Frames, Job, Lease, Phase, Status, Task

MEDIA_TYPES = {".mp4": "video/mp4", ".png": "image/png"}
Load = Callable[[ModelSpec, Reporter], Resident]
log = logging.getLogger(__name__)


class Attempt:
    """What an engine does with the job that it has claimed; `load` returns a model, loaded."""

    def __init__(self, system: System, lease: Lease, job: Job, load: Load, beat: Beat) -> None:
        self._system = system
        self._lease = lease
        self._job = job
        self._load = load
        self._beat = beat

    def run(self) -> None:
        """Finish or fail the job.

        Raises `DeviceLost` when the engine cannot go on, and what the store raises when neither can be stored: the
        lease runs out then, and the job is tried again.
        """
        lease, job = self._lease, self._job
        previews = Previews(self._system.artifacts, job.id)
        known = self._system.timings.of(job.model, job.task.shape)
        timer = StepTimer(job.model, job.task.steps, known, self._system.metrics)
        seconds = self._system.settings.job_seconds
        reporter = Reporter(self._system.jobs, lease, self._beat, previews, timer, seconds=seconds)
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
            self._system.plugins.announce(done)
            if done.status is Status.COMPLETED and (timing := timer.timing()):
                self._system.timings.learn(job.model, job.task.shape, timing)

    def _fail(self, error: Exception, phase: Phase) -> Job | None:
        """Fail the job with what went wrong; None if it is not ours any more, as when its files were deleted."""
        failed = self._system.jobs.fail(self._lease, self._without_paths(_failure(error, phase)))
        if failed is None:
            log.info("stopped: cancelled, deleted or given back, and so: %r", error)
        else:
            log.log(logging.WARNING if isinstance(error, EngineError) else logging.ERROR, "failed", exc_info=error)
        return failed

    def _without_paths(self, failure: Failure) -> Failure:
        return replace(failure, message=ServerPaths(self._system.settings.folders).hide(failure.message))

    def _make(self, reporter: Reporter) -> Job | None:
        model = self._system.registries.model(self._job.model, self._job.revision)
        if model is None:
            entry = self._system.registries.poll().find(self._job.model)
            raise LoadFailed(
                entry.reason if isinstance(entry, BrokenModel) else "the model of this job is not served any more"
            )
        if missing(backend := self._system.plugins.backends[model.backend]):
            raise LoadFailed(f"no engine can run {model.name}: {wanted(backend)}")
        resident = self._load(model, reporter)
        task = self._with_images()
        reporter.phase(Phase.STEP)(0, task.steps)
        generate = self._system.plugins.hook_for("generate", model)
        frames = generate(model=resident.model, loaded=resident.loaded, task=task, report=reporter.phase(Phase.STEP))
        if not isinstance(frames, Frames):
            raise GenerationFailed(f"the backend {model.backend} made no frames for {model.name}")
        return self._deliver(resident, frames, reporter)

    def _deliver(self, resident: Resident, frames: Frames, reporter: Reporter) -> Job | None:
        """Encode, publish, finish; a file whose job was lost does not stay."""
        lease, job, artifacts = self._lease, self._job, self._system.artifacts
        path = artifacts.part(job.id, lease.attempt, ".png" if frames.num_frames == 1 else ".mp4")
        done = None
        pixels = reporter.counting(frames)
        try:
            encode = self._system.plugins.hook_for("encode_output", resident.model)
            written = encode(model=resident.model, frames=replace(frames, pixels=pixels), path=path)
            if not written:
                raise GenerationFailed(f"no plugin of this engine writes {path.suffix} files")
            path = artifacts.publish(path)
            artifact = Artifact(
                name=path.name,
                media_type=MEDIA_TYPES[path.suffix],
                sha256=digest(path),
                size=path.stat().st_size,
                width=frames.width,
                height=frames.height,
                num_frames=frames.num_frames,
                frames_per_second=frames.frames_per_second,
            )
            hide = ServerPaths(self._system.settings.folders).hide
            warnings = merged(job.warnings, tuple(map(hide, (*frames.warnings, *frames.late_warnings()))))
            done = self._system.jobs.finish(lease, artifact, warnings)
        finally:
            pixels.close()
            if done is None:
                artifacts.discard(path)
        return done

    def _with_images(self) -> Task:
        """Decode the job's inputs at the task's size, in a child what an older version stored as it was received."""
        task = self._job.task
        for stored in self._job.inputs:
            data = self._system.artifacts.read_input(self._job.id, stored.name)
            if not stored.png_size:
                with closing(media.Decoders()) as decoders:
                    data = decoders.prepare(data, (task.width, task.height)).png
            pixels = media.decode(data)
            fitted = media.fit(pixels, task.width, task.height)
            task = replace(task, image=fitted) if stored.role is Input.IMAGE else replace(task, last_image=fitted)
        return task


def _failure(error: Exception, phase: Phase) -> Failure:
    """Say what the caller may know: our own errors' words, for all others only where it happened."""
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
