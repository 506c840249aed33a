"""Claim a job, load its model, generate, encode, finish; one at a time."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from registry import Input, ModelSpec
from router import images, logs, plugins
from router.artifacts import digest
from router.engine.keeper import Keeper
from router.engine.previews import Previews
from router.engine.reporting import Beat, Reporter
from router.engine.residency import Residency, Resident
from router.errors import (
    BootError,
    DeviceLost,
    DiskFull,
    EngineError,
    GenerationFailed,
    JobCancelled,
    OutOfMemory,
    is_disk_full,
)
from router.system import System
from router.values import Artifact, EngineState, Failure, Frames, Job, Lease, Phase, Task

IDLE_SECONDS = 0.003
LOOK_SECONDS = 1.0  # claim at least this often, whether the store has changed or not
MEDIA_TYPES = {".mp4": "video/mp4", ".png": "image/png"}
log = logging.getLogger(__name__)


class Worker:
    """One engine on one device."""

    def __init__(self, system: System, device: str, beat: Beat = lambda phase: None) -> None:
        self._system = system
        self._device = device
        self._beat = beat
        self._id = f"{device}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.models = runnable(system)
        self._residency = Residency(system, device)
        self._job: str | None = None
        self.keeper = Keeper(system, self._state)

    def run(self) -> None:
        """Work until told to stop, then unload and go."""
        self._system.jobs.inherit(self._device)
        for job in self._system.jobs.strand([model.name for model in self._system.registry.models]):
            self._system.plugins.announce(job)
        self.keeper.start()  # its first act is to queue again what the former engine left
        log.info("engine %s takes jobs for %s", self._id, ", ".join(self.models) or "no model")
        pulse = self._system.jobs.pulse()
        while not self.keeper.stopping:
            before = pulse()
            if not self.run_one():
                self._beat(None)
                self._rest(pulse, before)
        self._residency.clear()
        self.keeper.gone()

    def run_one(self, only: str | None = None) -> bool:
        """Claim and do one job (that one, if `only` names it); False when there was none."""
        claimed = self._system.jobs.claim(self._id, self.models, only)
        if claimed is None:
            return False
        lease, job = claimed
        with self._working(lease, job):
            self._do(lease, job)
        return True

    def _rest(self, pulse: Callable[[], int], before: int) -> None:
        """Wait until the store changes, but not for long."""
        until = time.monotonic() + LOOK_SECONDS
        while not self.keeper.stopping and time.monotonic() < until and pulse() == before:
            time.sleep(IDLE_SECONDS)

    @contextmanager
    def _working(self, lease: Lease, job: Job) -> Iterator[None]:
        self._job = job.id
        self.keeper.hold(lease)
        logs.job_id.set(job.id)
        logs.request_id.set(job.request_id)
        self._system.plugins.announce(job)
        try:
            yield
        finally:
            self.keeper.hold(None)
            self._job = None
            logs.job_id.set("")
            logs.request_id.set("")

    def _do(self, lease: Lease, job: Job) -> None:
        """Finish or fail the job; whatever goes wrong stays with it."""
        previews = Previews(self._system.artifacts, job.id)
        reporter = Reporter(self._system.jobs, lease, self._beat, previews)
        started = time.perf_counter()
        try:
            done = self._make(lease, job, reporter)
        except JobCancelled:
            log.info("stopped: cancelled, deleted or given back")
            return
        except DeviceLost:
            log.exception("the device cannot be used any more: this engine ends, and the job is tried again")
            raise
        except Exception as error:
            done = self._fail(lease, error, reporter.current)
        finally:
            previews.clear()
        if done is not None:
            log.info("%s %s after %.2f s", job.model, done.status, time.perf_counter() - started)
            self._system.plugins.announce(done)

    def _fail(self, lease: Lease, error: Exception, phase: Phase) -> Job | None:
        """Fail the job with what went wrong; None if it is not ours any more, as when its files were deleted."""
        failed = self._system.jobs.fail(lease, _failure(error, phase))
        if failed is None:
            log.info("stopped: cancelled, deleted or given back, and so: %r", error)
        else:
            log.log(logging.WARNING if isinstance(error, EngineError) else logging.ERROR, "failed", exc_info=error)
        return failed

    def _make(self, lease: Lease, job: Job, reporter: Reporter) -> Job | None:
        model = self._system.registry.find(job.model)
        assert isinstance(model, ModelSpec)  # only models of this registry are claimed
        resident = self._residency.get(model, reporter)
        task = self._with_images(job)
        reporter.phase(Phase.STEP)(0, task.steps)
        generate = self._system.plugins.hook_for("generate", model)
        frames = generate(model=resident.model, loaded=resident.loaded, task=task, report=reporter.phase(Phase.STEP))
        if not isinstance(frames, Frames):
            raise GenerationFailed(f"the backend {model.backend} made no frames for {model.name}")
        return self._deliver(lease, job, resident, frames, reporter)

    def _deliver(self, lease: Lease, job: Job, resident: Resident, frames: Frames, reporter: Reporter) -> Job | None:
        """Encode, publish, finish; a file whose job was lost does not stay."""
        artifacts = self._system.artifacts
        path = artifacts.part(job.id, lease.attempt, ".png" if frames.num_frames == 1 else ".mp4")
        done = None
        pixels = reporter.counting(frames)
        try:
            encode = self._system.plugins.hook_for("encode_output", resident.model)
            if not encode(model=resident.model, frames=replace(frames, pixels=pixels), path=path):
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
            done = self._system.jobs.finish(lease, artifact, (*job.warnings, *frames.warnings))
        finally:
            pixels.close()
            if done is None:
                artifacts.discard(path)
        return done

    def _with_images(self, job: Job) -> Task:
        """Decode the job's inputs at the task's size."""
        task = job.task
        for stored in job.inputs:
            pixels = images.decode(self._system.artifacts.read_input(job.id, stored.name))
            fitted = images.fit(pixels, task.width, task.height)
            task = replace(task, image=fitted) if stored.role is Input.IMAGE else replace(task, last_image=fitted)
        return task

    def _state(self) -> EngineState:
        return EngineState(self._id, self._device, os.getpid(), self.models, self._residency.names, self._job)


def runnable(system: System) -> tuple[str, ...]:
    """Return the models whose backends have all that they need in this Python; warn of the others.

    Raises `BootError` when there is none: an engine that could only wait would look like one that works.
    """
    lacks = {name: plugins.missing(backend) for name, backend in system.plugins.backends.items()}
    used = sorted({model.backend for model in system.registry.models if lacks[model.backend]})
    wants = [plugins.wanted(system.plugins.backends[name]) for name in used]
    able = tuple(model.name for model in system.registry.models if not lacks[model.backend])
    if not able:
        raise BootError(f"no model can run here: {'; '.join(wants)}")
    for want in wants:
        log.warning("%s; its models are not run here", want)
    return able


def _failure(error: Exception, phase: Phase) -> Failure:
    """Say what the caller may know: our own errors' words, for all others only where it happened."""
    if isinstance(error, EngineError):
        return Failure(error.code, error.message)
    if is_disk_full(error):
        return Failure(DiskFull.code, "the server's disk is full")
    if isinstance(error, MemoryError):
        return Failure(OutOfMemory.code, "the server ran out of memory: ask for fewer frames or a smaller size")
    if phase in (Phase.LOAD, Phase.DOWNLOAD):
        return Failure("load_failed", "the model could not be loaded; the server's log has the reason")
    return Failure(GenerationFailed.code, "the video could not be generated; the server's log has the reason")
