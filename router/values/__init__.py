"""Frozen values that cross the walls between rooms."""

from router.values.backend import Backend, Offloader, PartPath, Pool, Report
from router.values.engine import EngineState, Need, ResidentBytes, lacking, state_of, too_large
from router.values.job import Artifact, Failure, Job, Lease, Phase, Progress, Revision, Status, StepTiming, StoredInput
from router.values.presentation import Dialect, OutputPart, Presentation
from router.values.task import Frames, Pixels, Preview, Task

__all__ = [
    "Artifact",
    "Backend",
    "Dialect",
    "EngineState",
    "Failure",
    "Frames",
    "Job",
    "Lease",
    "Need",
    "Offloader",
    "OutputPart",
    "PartPath",
    "Phase",
    "Pixels",
    "Pool",
    "Presentation",
    "Preview",
    "Progress",
    "Report",
    "ResidentBytes",
    "Revision",
    "Status",
    "StepTiming",
    "StoredInput",
    "Task",
    "lacking",
    "state_of",
    "too_large",
]
