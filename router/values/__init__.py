"""Frozen values that cross the walls between rooms."""

from router.values.backend import Backend, Numerics, Offloader, PartPath, Pool, Report
from router.values.engine import (
    REMEDY,
    EngineState,
    MemoryUse,
    Need,
    ResidentBytes,
    gigabytes,
    lacking,
    state_of,
    too_large,
)
from router.values.job import Artifact, Failure, Job, Lease, Phase, Progress, Revision, Status, StoredInput
from router.values.panel import Panel
from router.values.plan import Activations, Alternative, Basis, Plan, PlannedPart, distinct
from router.values.presentation import Dialect, OutputPart, Presentation
from router.values.task import Frames, Pixels, Preview, Task, UsedAdapter
from router.values.work import Estimate, EstimateBasis, Expected, Origin, Outcome, Usage, WorkSeconds
