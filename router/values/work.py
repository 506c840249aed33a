"""What a job takes of a device: expected and measured seconds, and its usage."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import StrEnum


@dataclass(frozen=True)
class WorkSeconds:
    """Seconds of a job's phases, without loads: expected, or those of one attempt.

    `text` are those before the first step (text and images are encoded), `steps` those of all steps, `encode` those
    of the file.
    """

    text: float
    steps: float
    decode: float
    encode: float

    @property
    def total(self) -> float:
        return self.text + self.steps + self.decode + self.encode


class Origin(StrEnum):
    """Where weights are before a load: on disk, or in the host's memory."""

    COLD = "cold"
    WARM = "warm"


class EstimateBasis(StrEnum):
    """What an estimate was made of, the best first."""

    MEASURED = "measured"  # jobs of this model at this size
    FITTED = "fitted"  # jobs of this model at other sizes
    BORROWED = "borrowed"  # jobs of other models


@dataclass(frozen=True)
class Estimate:
    """The expected seconds of a job's own work, without the load of its model."""

    seconds: WorkSeconds
    basis: EstimateBasis


@dataclass(frozen=True)
class Expected:
    """Expected seconds of a model on one kind of device, None if unknown.

    `job` is the estimate of a job, `load_cold` and `load_warm` are the loads from disk and from the host's memory.
    """

    kind: str
    job: Estimate | None
    load_cold: float | None
    load_warm: float | None


class Outcome(StrEnum):
    """How an attempt ended; a `lost` one is the server's fault and costs nothing."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True)
class Usage:
    """What was used: seconds of a device without loads, finished steps, and frames made.

    `pixels` are those of all frames; `cost` is money, in the unit of the models' `price`.
    """

    gpu_seconds: float = 0.0
    steps: int = 0
    frames: int = 0
    pixels: int = 0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))
