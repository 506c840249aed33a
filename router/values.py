"""The frozen values that cross a boundary: what was asked, what came out, and the job in between."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import numpy as np
from marshmallow import Schema
from numpy.typing import NDArray

from registry import Input, Modality

Pixels = NDArray[np.uint8]
Preview = Callable[[], Pixels]
T = TypeVar("T")


@dataclass(frozen=True)
class Backend:
    """What a plugin declares: its name, the modalities it can run, and its options' schema.

    `requires` names the modules that must be importable where an engine runs it; `extra` is the
    `pip install framegate[...]` extra that brings them. The schema (a marshmallow class) validates
    a model's `options` in the registry. `index` is the file by which a folder of weights is known
    (`model_index.json` for the diffusers layout), None where any folder will do.
    """

    name: str
    modalities: frozenset[Modality]
    options: type[Schema] | None = None
    requires: tuple[str, ...] = ()
    extra: str = ""
    index: str | None = None


@dataclass(frozen=True)
class Task:
    """What a backend is asked for. Every value is the effective one: nothing is left to a default.

    `width` and `height` are pixels, multiples of the model's `size_multiple`; `num_frames` is 4k+1.
    `given` is what the caller sent. `image` and `last_image` are RGB pictures, uint8 of shape
    `(height, width, 3)`, oriented, cropped and resized to the task's size; they are filled in by
    the engine, so a `check_request` hook sees `given` but no pixels.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    num_frames: int
    frames_per_second: int
    steps: int
    guidance_scale: float
    guidance_scale_2: float | None
    flow_shift: float
    seed: int
    given: frozenset[Input]
    image: Pixels | None = field(default=None, compare=False)
    last_image: Pixels | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Frames:
    """What a backend returns: pixels in order, in chunks, as they become ready.

    `pixels` yields RGB arrays, uint8 of shape `(n, height, width, 3)`; their `n` add up to
    `num_frames`. The engine iterates (errors inside are the backend's) and closes a generator
    in any case. `warnings` are sentences for the caller, such as a prompt that was cut.
    """

    pixels: Iterator[Pixels]
    num_frames: int
    width: int
    height: int
    frames_per_second: int
    warnings: tuple[str, ...] = ()


class Report(Protocol):
    """Store progress and stop a job that is no longer ours."""

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        """Say that `done` of `total` are done; raise `JobCancelled` when the job is to stop.

        `preview` makes a small picture, `(height, width, 3)`, of what there is so far. It is called now or
        never, at most once a second; what it raises is logged and harms nobody.
        """


class Pool(Protocol):
    """Parts of models that other models may share, held once."""

    def part(self, key: Hashable, load: Callable[[], T]) -> T:
        """Return the part with this key, loading it if no resident model holds it.

        The key must name everything that changes the part: the identity of its files, dtype,
        device, attention backend. Whoever takes a part must not mutate it.
        """

    def private(self, load: Callable[[], T]) -> T:
        """Return a part that nobody else will ever see."""


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
    """An input image as it was received: `name` under the job's inputs, its role, type, digest, bytes."""

    name: str
    role: Input
    media_type: str
    sha256: str
    size: int


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
    """`done` of `total` in this phase, and the whole job in percent."""

    phase: Phase
    done: int
    total: int
    percent: int


@dataclass(frozen=True)
class Job:
    """One accepted request, as the store holds it; times are seconds since 1970.

    `model` is the one that runs, whatever route was asked for. `form` is what the HTTP dialect must
    know to render the job again (how it was asked); no other room reads it. `attempt` counts the claims.
    `version` grows with every change of the row. `ahead` counts the queued jobs before it, where it waits.
    """

    id: str
    owner: str
    model: str
    task: Task
    inputs: tuple[StoredInput, ...] = ()
    form: Mapping[str, Any] = field(default_factory=dict)
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
    ahead: int | None = None


@dataclass(frozen=True)
class Lease:
    """The right to work on a job: this engine, this attempt. Every write of an engine names it."""

    job: str
    engine: str
    attempt: int


@dataclass(frozen=True)
class EngineState:
    """What an engine says of itself at each heartbeat; `age` is seconds since the last one."""

    id: str
    device: str
    pid: int
    models: tuple[str, ...]
    resident: tuple[str, ...]
    job: str | None = None
    age: float = 0.0
