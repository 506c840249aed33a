"""What a backend declares, and what the engine hands to it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from marshmallow import Schema

from registry import Modality
from router.values.task import Preview

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

    def part(self, key: Hashable, load: Callable[[], T], offloader: Offloader | None = None) -> T:
        """Return the part with this key, loading it if no resident model holds it.

        The key must name everything that changes the part: the identity of its files, dtype,
        device, attention backend. Whoever takes a part must not mutate it. A part with an `offloader` may wait on the
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


@dataclass(frozen=True)
class PartPath:
    """By which code a part of a loaded model runs: `path` in a word, and the `reason` where it is not the usual one."""

    path: str
    reason: str = ""
