"""The frozen values that cross a boundary: what was asked, what came out, and the job in between."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
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
    (`model_index.json` for the diffusers layout), None where any folder will do; `made_by` is the command
    that makes such a folder, where there is one. A `deterministic` backend makes the same frames of a task bit for
    bit, on one device; one that `uses_seed` makes others for another seed. The contract's checks go by both.
    """

    name: str
    modalities: frozenset[Modality]
    options: type[Schema] | None = None
    requires: tuple[str, ...] = ()
    extra: str = ""
    index: str | None = None
    made_by: str = ""
    deterministic: bool = True
    uses_seed: bool = True


@dataclass(frozen=True)
class Task:
    """What a backend is asked for. Every value is the effective one: nothing is left to a default.

    `width` and `height` are pixels, multiples of the model's `size_multiple`; `num_frames` is 4k+1.
    `given` is what the caller sent. `image` and `last_image` are RGB pictures, uint8 of shape
    `(height, width, 3)`, oriented, cropped and resized to the task's size; they are filled in by
    the engine, so a `check_request` hook sees `given` and the final size but no pixels.
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

    @property
    def shape(self) -> str:
        """Return what the time of a step depends on, in a word."""
        return f"{self.width}x{self.height}x{self.num_frames}{'' if self.guidance_scale > 1 else '-unguided'}"


@dataclass(frozen=True)
class Frames:
    """What a backend returns: pixels in order, in chunks, as they become ready.

    `pixels` yields RGB arrays, uint8 of shape `(n, height, width, 3)`; their `n` add up to
    `num_frames`. The engine iterates (errors inside are the backend's) and closes a generator
    in any case. `warnings` are sentences for the caller, such as a prompt that was cut. `late_warnings` returns those
    that are known only from the pixels; it is called once, after the last of them was taken.
    """

    pixels: Iterator[Pixels]
    num_frames: int
    width: int
    height: int
    frames_per_second: int
    warnings: tuple[str, ...] = ()
    late_warnings: Callable[[], tuple[str, ...]] = tuple


class Report(Protocol):
    """Store progress and stop a job that is no longer ours."""

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        """Say that `done` of `total` are done; raise `JobCancelled` when the job is to stop.

        `preview` makes a small picture, `(height, width, 3)`, of what there is so far. It is called now or
        never, at most once a second; what it raises is logged and harms nobody.
        """


class Offloader(Protocol):
    """How a part moves to the host's memory when no model holds it, and back; in place, both of them."""

    def cool(self, part: Any) -> None:
        """Move the part's weights to the host."""

    def warm(self, part: Any) -> None:
        """Move them back to the device."""


class Pool(Protocol):
    """Parts of models that other models may share, held once."""

    def part(self, key: Hashable, load: Callable[[], T], tier: Offloader | None = None) -> T:
        """Return the part with this key, loading it if no resident model holds it.

        The key must name everything that changes the part: the identity of its files, dtype,
        device, attention backend. Whoever takes a part must not mutate it. A part with a `tier` may wait on the
        host for its next holder; its size is its `nbytes`, or that of its parameters and buffers.
        """

    def private(self, load: Callable[[], T]) -> T:
        """Return a part that nobody else will ever see."""

    def reserve(self, sizes: Mapping[Hashable, int]) -> None:
        """Say how many bytes the parts with these keys will take: models that are not in use leave for them.

        Raises `LoadFailed` where there can never be so much room.
        """

    def digest(self, path: Path) -> str:
        """Return a value that is the same for files of the same bytes, computed once."""


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

    `model` is the one that runs, whatever route was asked for. `form` is what the HTTP dialect must
    know to render the job again (how it was asked); no other room reads it. `attempt` counts the claims.
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


@dataclass(frozen=True)
class ResidentBytes:
    """Bytes of weights that a model holds on a device: its own, and those that others hold too."""

    owned: int
    shared: int


@dataclass(frozen=True)
class Need:
    """Bytes of weights that a model takes of a device, and those that the device has for weights."""

    needed: int
    budget: int

    def __str__(self) -> str:
        needed, budget = self.needed / 1e9, self.budget / 1e9
        return f"needs {needed:.3g} GB of weights on the device, its budget for weights is {budget:.3g} GB"


@dataclass(frozen=True)
class PartPath:
    """By which code a part of a loaded model runs: `path` in a word, and the `reason` where it is not the usual one."""

    path: str
    reason: str = ""


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
    memory: Mapping[str, ResidentBytes] = field(default_factory=dict)
    warm: tuple[str, ...] = ()
    paths: Mapping[str, Mapping[str, PartPath]] = field(default_factory=dict)  # by model and part
    lacks: Mapping[str, str] = field(default_factory=dict)  # what it needs to run a model that it cannot run
    too_large: Mapping[str, Need] = field(default_factory=dict)  # models that can never be loaded there


def lacking(model: str, engines: Iterable[EngineState], recent: float) -> tuple[str, ...]:
    """Return what engines lack to run a model, where none of those seen within `recent` seconds can.

    Of each device the engine that was seen last counts: the others are gone.
    """
    newest = {engine.device: engine for engine in sorted(engines, key=lambda engine: -engine.age)}
    known = [engine for engine in newest.values() if engine.age < recent]
    if any(model in engine.models for engine in known):
        return ()
    return tuple(sorted({engine.lacks[model] for engine in known if model in engine.lacks}))


def too_large(model: str, engines: Iterable[EngineState]) -> str | None:
    """Return why `model` can never be loaded by any of the engines that offer it; None where one may, or none is."""
    able = [engine for engine in engines if model in engine.models]
    needs = {engine.device: engine.too_large.get(model) for engine in able}
    if not needs or None in needs.values():
        return None
    said = "; ".join(f"on {device} it {need}" for device, need in sorted(needs.items()))
    return f"{model} can never be loaded: {said}"


def state_of(model: str, engines: Iterable[EngineState]) -> str:
    """Say in one word where a model's weights are: loaded (on a device), warm (on a host) or cold."""
    known = list(engines)
    if any(model in engine.resident for engine in known):
        return "loaded"
    return "warm" if any(model in engine.warm for engine in known) else "cold"
