"""A job, and what the store holds of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from registry import Input
from router.values.presentation import Presentation
from router.values.task import Task


class Status(StrEnum):
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class Phase(StrEnum):
    """Where a running job is; each has a stall time-out of its own."""

    DOWNLOAD = "download"
    LOAD = "load"
    STEP = "step"
    DECODE = "decode"


@dataclass(frozen=True)
class StoredInput:
    """An input image: `name` under the job's inputs, its role, and the type, digest and bytes that were received.

    `png_sha256` and `png_size` are the stored file's, a PNG that was made of it: upright, in sRGB, of no more pixels
    than the model takes. They are empty in a job of an older version, whose file is what was received. `width` and
    `height` are the received picture's as shown, `notes` sentences on its colours.
    """

    name: str
    role: Input
    media_type: str
    sha256: str
    size: int
    png_sha256: str = ""
    png_size: int = 0
    width: int = 0
    height: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """A finished file: `name` under the job's outputs; `sha256` is its ETag; `size` in bytes."""

    name: str
    media_type: str
    sha256: str
    size: int
    width: int
    height: int
    num_frames: int
    frames_per_second: int


@dataclass(frozen=True)
class Failure:
    """Why a job failed, in the words that the caller sees."""

    code: str
    message: str


@dataclass(frozen=True)
class Progress:
    """`done` of `total` in this phase, the whole job in percent, and how many seconds it will still take, if known."""

    phase: Phase
    done: int
    total: int
    percent: int
    remaining: float | None = None


@dataclass(frozen=True)
class StepTiming:
    """How fast a model makes videos of one shape: seconds of a step, and of all that follows the last one."""

    step: float
    rest: float

    def seconds(self, steps: int) -> float:
        return self.step * steps + self.rest


@dataclass(frozen=True)
class Job:
    """One accepted request, as the store holds it; times are seconds since 1970.

    `model` is the one that runs, whatever route was asked for. `attempt` counts the claims.
    `version` grows with every change of the row. `ahead` counts the queued jobs before it, where it waits, and
    `remaining` the seconds until it is done, if they are known. `estimate` are those of its own work. `key` is
    the id of the API key that asked for it, None where nobody needs one. `revision`
    is that of the models file under which it was accepted, None where there was none.
    """

    id: str
    owner: str
    model: str
    task: Task
    inputs: tuple[StoredInput, ...] = ()
    presentation: Presentation = field(default_factory=Presentation)
    status: Status = Status.QUEUED
    progress: Progress | None = None
    warnings: tuple[str, ...] = ()
    artifact: Artifact | None = None
    failure: Failure | None = None
    attempt: int = 0
    request_id: str = ""
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    version: int = 0
    priority: int = 0
    estimate: float | None = None
    ahead: int | None = None
    remaining: float | None = None
    key: str | None = None
    revision: int | None = None


@dataclass(frozen=True)
class Revision:
    """A models file as it was published: its number, its text, where it was, and when it was read (since 1970)."""

    n: int
    file: Path
    text: str
    created_at: float


@dataclass(frozen=True)
class Lease:
    """The right to work on a job: this engine, this attempt. Every write of an engine names it."""

    job: str
    engine: str
    attempt: int
