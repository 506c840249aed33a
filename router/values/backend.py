"""The declaration of a backend, and the engine's tools for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from marshmallow import Schema

from registry import Modality
from router.values.task import Preview

T = TypeVar("T")


@dataclass(frozen=True)
class Backend:
    """A backend's name, modalities, schema of options and needs.

    `requires` names the modules that must be importable where an engine runs it; `extra` is the
    `pip install framegate[...]` extra with them. The schema (a marshmallow class) validates a model's
    `options` in the registry. `index` is the file that marks a folder of weights (`model_index.json` for
    the diffusers layout), None for any folder; `made_by` is the command that makes such a folder, if any.
    A `deterministic` backend makes the same frames of a task bit for bit, on one device; one that `uses_seed`
    makes others for another seed. The contract's checks use both.
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
    runs_adapters: bool = False
    merged_by: str = ""


@dataclass(frozen=True)
class Numerics:
    """What a job's numbers depend on.

    `reproducible`: its seed gives these bytes again on this machine, whatever ran before. `lossy` names what made
    the numbers other than the model's own, `may_vary_with` what could change a byte.
    """

    reproducible: bool = True
    lossy: tuple[str, ...] = ()
    may_vary_with: tuple[str, ...] = ()


class Report(Protocol):
    """Store progress and stop a job that is no longer ours."""

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        """Store that `done` of `total` are done; raise `JobCancelled` when the job must stop.

        `preview` makes a small picture of the job so far, uint8 of shape `(height, width, 3)`. It is called now or
        never, at most once a second; what it raises is logged only.
        """


class Offloader(Protocol):
    """The moves of an unused part to the host's memory and back, in place."""

    def cool(self, part: Any) -> None:
        """Move the part's weights to the host."""

    def warm(self, part: Any) -> None:
        """Move the part's weights back to the device."""


class Pool(Protocol):
    """Parts of models, each held once for all models that share it."""

    def part(self, key: Hashable, load: Callable[[], T], offloader: Offloader | None = None) -> T:
        """Return the part with this key, loading it if no resident model holds it.

        The key must name everything that changes the part: the identity of its files, dtype,
        device, attention backend. Whoever takes a part must not mutate it. A part with an `offloader` may wait on the
        host for its next holder; its size is its `nbytes`, or that of its parameters and buffers.
        """

    def private(self, load: Callable[[], T]) -> T:
        """Return a part for this model alone."""

    def borrow(self) -> AbstractContextManager[Pool]:
        """Return a pool whose parts are held for the block, such as a job.

        Afterwards they stay on the device while there is room, and move to the host before any model does.
        """

    def reserve(self, sizes: Mapping[Hashable, int]) -> None:
        """Free memory for parts of these sizes in bytes, by key: idle models leave.

        Raises `LoadFailed` for more bytes than the device can ever have.
        """

    def digest(self, path: Path) -> str:
        """Return the digest of a file's or folder's bytes, computed once."""


@dataclass(frozen=True)
class PartPath:
    """The code by which a model's part runs; `reason` if not the usual."""

    path: str
    reason: str = ""
