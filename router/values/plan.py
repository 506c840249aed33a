"""The memory that a model takes, planned before it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Activations = Callable[[int, int, int], int]  # bytes for a width and height in pixels, and a number of frames


class Basis(StrEnum):
    """The source of a plan's bytes of weights."""

    FILES = "files"  # the headers of the files on this machine
    PUBLISHED = "published shapes"  # the configurations that the family was published with
    FORMATS = "file formats"  # of files that are not here, by the format in their names


@dataclass(frozen=True)
class PlannedPart:
    """One part's weights: bytes on the device, and bytes kept on the host.

    Parts with equal `identity` are in memory once, for whatever models; None is a part of this model alone. `format`
    names the numbers, such as `bf16` or `fp8`.
    """

    name: str
    device_bytes: int
    host_bytes: int = 0
    format: str = ""
    identity: Hashable = None


@dataclass(frozen=True)
class Plan:
    """The parts of a model, the least bytes of its weights.

    `activations` estimates the bytes that a job takes beside the weights. `alternatives` take less of the device than
    the model as configured, those that change its videos least come first.
    """

    parts: tuple[PlannedPart, ...]
    basis: Basis = Basis.FILES
    activations: Activations | None = None
    alternatives: tuple[Alternative, ...] = ()

    @property
    def device_bytes(self) -> int:
        return sum(part.device_bytes for part in self._distinct())

    @property
    def host_bytes(self) -> int:
        return sum(part.host_bytes for part in self._distinct())

    def _distinct(self) -> Iterator[PlannedPart]:
        yield from distinct(self.parts).values()


@dataclass(frozen=True)
class Alternative:
    """A change of a model's entry, and its plan with it.

    `options` are to be set; `files` are formats of files to be named under `parts`, by part.
    """

    plan: Plan
    options: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{name}: {_text(value)}" for name, value in self.options.items())
        files = ", ".join(f"{part} in {form}" for part, form in self.files.items())
        changes = (f"options: {{{options}}}" if options else "", f"files of {files}" if files else "")
        return " and ".join(filter(None, changes))


def distinct(parts: tuple[PlannedPart, ...]) -> dict[Hashable, PlannedPart]:
    """Return the parts by identity, each once."""
    return {(number if part.identity is None else part.identity): part for number, part in enumerate(parts)}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
