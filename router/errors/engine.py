"""The errors of a job, and of the engine that runs the job."""

from __future__ import annotations

from router.errors.root import RouterError


class EngineError(RouterError):
    """A job cannot be done; `code` and the message become its `error`."""

    code = "generation_failed"


class LoadFailed(EngineError):
    code = "load_failed"


class DownloadFailed(EngineError):
    code = "download_failed"


class GenerationFailed(EngineError):
    code = "generation_failed"


class OutOfMemory(EngineError):
    code = "out_of_memory"


class NumericalError(EngineError):
    """The model produced NaN or infinity."""

    code = "numerical_error"


class TimedOut(EngineError):
    """A job exceeded its time limit, or its engine hung at every attempt."""

    code = "timed_out"


class DiskFull(EngineError):
    code = "disk_full"


class EngineLost(EngineError):
    """The engine died at every attempt at the job."""

    code = "engine_lost"


class JobCancelled(RouterError):
    """The job was cancelled, deleted or taken over; stops the backend's next report."""


class DeviceLost(RouterError):
    """The device fails at every call; only a new process helps."""

    # such as a CUDA error that is not about memory
