"""Frozen values: the models and routes that a server offers, looked up by name or alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from registry.modality import Modality


@dataclass(frozen=True)
class FlowShift:
    """The scheduler's shift by picture size: `small` up to `boundary` pixels a frame, `large` above."""

    small: float
    large: float
    boundary: int = 480 * 832

    def at(self, width: int, height: int) -> float:
        return self.small if width * height <= self.boundary else self.large


@dataclass(frozen=True)
class Defaults:
    """What a request gets where it does not say: sizes in pixels, rate in frames a second."""

    width: int
    height: int
    num_frames: int
    frames_per_second: int
    steps: int
    guidance_scale: float
    guidance_scale_2: float | None
    flow_shift: FlowShift
    negative_prompt: str


@dataclass(frozen=True)
class Limits:
    """The most that one request may ask for: `pixels` is width x height, `prompt` counts characters."""

    pixels: int
    frames: int
    steps: int
    prompt: int = 8000


@dataclass(frozen=True)
class ModelSpec:
    """One model: what it takes, who runs it, and where its weights are.

    `source` is a local folder, a hub id, `embedded:NAME` for the family that comes with the
    package, or None for a backend without weights. `folder` is None until an engine has obtained
    the weights; a backend's `load_model` always sees it filled. `options` have been
    validated by the schema that the backend declared. With two `experts` the first steps are guided
    by `guidance_scale`, the last ones by `guidance_scale_2`.
    """

    name: str
    backend: str
    modality: Modality
    defaults: Defaults
    limits: Limits
    size_multiple: int
    source: str | None = None
    revision: str | None = None
    download: bool = False
    family: str | None = None
    experts: int = 1
    aliases: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    folder: Path | None = None


@dataclass(frozen=True)
class Route:
    """A name that stands for several models; the first member that takes the inputs runs."""

    name: str
    members: tuple[str, ...]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registry:
    """Everything that is served. Names and aliases are unique across models and routes."""

    models: tuple[ModelSpec, ...]
    routes: tuple[Route, ...] = ()
    default: str | None = None
    file: str = field(default="", compare=False)

    @property
    def entries(self) -> tuple[ModelSpec | Route, ...]:
        """Everything that a request can name, routes first."""
        return (*self.routes, *self.models)

    @cached_property
    def _by_name(self) -> Mapping[str, ModelSpec | Route]:
        return {name: entry for entry in self.entries for name in (entry.name, *entry.aliases)}

    def find(self, name: str) -> ModelSpec | Route | None:
        """Return the model or route called `name` (or with that alias), None if there is none."""
        return self._by_name.get(name)

    def members(self, route: Route) -> tuple[ModelSpec, ...]:
        """Return the models behind `route`, in the order in which they are asked."""
        found = (self.find(name) for name in route.members)
        return tuple(model for model in found if isinstance(model, ModelSpec))
