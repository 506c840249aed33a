"""Jobs and their parts, as the store holds them."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from registry import Input
from registry.traits import Traits
from router.values.backend import Numerics
from router.values.presentation import Presentation
from router.values.task import Task
from router.values.work import Usage


class Status(StrEnum):
    """The state of a job, `queued` at first."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class Phase(StrEnum):
    """The phase of a running job; each has a stall time-out of its own."""

    DOWNLOAD = "download"
    LOAD = "load"
    STEP = "step"
    DECODE = "decode"


@dataclass(frozen=True)
class StoredInput:
    """An input image: its file `name` under the job's inputs, and its source.

    `media_type`, `sha256` and `size` (bytes) are those of the received file; `width` and `height` its upright size in
    pixels, `notes` sentences on its colours. `png_sha256` and `png_size` are those of the stored file, an upright sRGB
    PNG within the model's pixel limit. They are empty in jobs of older versions, whose file is the received one.
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
    """A finished file under the job's outputs; `sha256` is its ETag, `size` in bytes."""

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
    """The failure of a job, as the caller sees it."""

    code: str
    message: str


@dataclass(frozen=True)
class Progress:
    """A job's progress: `done` of `total` in its phase, `percent` of the whole.

    `remaining` are the seconds to its end, if known.
    """

    phase: Phase
    done: int
    total: int
    percent: int
    remaining: float | None = None


@dataclass(frozen=True)
class Job:
    """One accepted request, as the store holds it; times are seconds since 1970.

    `model` is the one that runs, whatever route was asked for. `attempt` counts the claims.
    `version` grows with every change of the row. `ahead` counts the queued jobs before it, where it waits, and
    `remaining` the seconds until it is done, if they are known. `estimate` are those of its own work, without a load of
    its model. `key` is the id of the API key that asked for it, None where nobody needs one. `revision` is that of the
    models file under which it was accepted, None where there was none. `numerics` are None in jobs of older versions.
    `price` is that of a second of its work, None where the model has none. `usage` is that of its attempts, once they
    have ended. `cause` is the exception behind a failure that callers are not told, for administrators.
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
    numerics: Numerics | None = None
    price: float | None = None
    usage: Usage | None = None
    cause: str | None = None


@dataclass(frozen=True)
class Revision:
    """A published models file, number `n`; read at `created_at`, seconds since 1970.

    In a store of many machines `traits` are those of the model folders, else None.
    """

    n: int
    file: Path
    text: str
    created_at: float
    traits: Traits | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Lease:
    """The right of an engine to write for a job, in one attempt."""

    job: str
    engine: str
    attempt: int
