"""The names for plugin authors."""

from registry import Input, Modality, ModelSpec
from router.errors import (
    DeviceLost,
    GenerationFailed,
    InvalidRequest,
    JobCancelled,
    LoadFailed,
    NumericalError,
    OutOfMemory,
    Refused,
)
from router.hookspecs import hookimpl
from router.tokens import CutPrompt
from router.values import Backend, Frames, Job, Offloader, PartPath, Pixels, Pool, Preview, Report, Task

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
    "Refused",
    "Report",
    "Task",
    "hookimpl",
]
