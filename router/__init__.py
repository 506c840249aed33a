"""The names for plugin authors: they stay as they are from version to version."""

from registry import Input, Modality, ModelSpec
from router.errors import (
    DeviceLost,
    GenerationFailed,
    InvalidRequest,
    JobCancelled,
    LimitExceeded,
    LoadFailed,
    NumericalError,
    OutOfMemory,
    RateLimited,
    Refused,
    RequestError,
    Unauthorized,
)
from router.hookspecs import hookimpl
from router.tokens import CutPrompt
from router.values import Backend, Frames, Job, Offloader, PartPath, Pixels, Pool, Preview, Report, Status, Task

__all__ = [
    "Backend",
    "CutPrompt",
    "DeviceLost",
    "Frames",
    "GenerationFailed",
    "Input",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "LimitExceeded",
    "LoadFailed",
    "Modality",
    "ModelSpec",
    "NumericalError",
    "Offloader",
    "OutOfMemory",
    "PartPath",
    "Pixels",
    "Pool",
    "Preview",
    "RateLimited",
    "Refused",
    "Report",
    "RequestError",
    "Status",
    "Task",
    "Unauthorized",
    "hookimpl",
]
