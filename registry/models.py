"""The models and routes of a server, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from registry.adapters import Adapter, PerExpert
from registry.errors import Problem
from registry.modality import Modality
from registry.parts import NO_FILES, PartFiles
from registry.traits import Traits

IMAGE_BYTES = 20 * 2**20
IMAGE_PIXELS = 64_000_000
TEXT_ONLY = ("make", "refuse")


@dataclass(frozen=True)
class FlowShift:
    """The scheduler's shift: `small` up to `boundary` pixels a frame, `large` above."""

    small: float
    large: float
    boundary: int = 480 * 832

    def at(self, width: int, height: int) -> float:
        return self.small if width * height <= self.boundary else self.large


@dataclass(frozen=True)
class Size:
    """A video's width and height in pixels, and its frames."""

    width: int
    height: int
    num_frames: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}x{self.num_frames}"


@dataclass(frozen=True)
class Defaults:
    """Defaults of a request: sizes in pixels, rate in frames a second."""

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
    """Limits of one request: `pixels` is width x height, `prompt` counts characters.

    `image_bytes` and `image_pixels` limit each input image. `queued` limits the model's queued jobs, None for no limit.
    """

    pixels: int
    frames: int
    steps: int
    prompt: int = 8000
    image_bytes: int = IMAGE_BYTES
    image_pixels: int = IMAGE_PIXELS
    queued: int | None = None


@dataclass(frozen=True)
class ModelSpec:
    """One model: inputs, backend and weights.

    `source` is a local folder, a hub id, `embedded:NAME` for the family that comes with the package, or None for a
    backend without weights. `folder` is None until an engine has obtained the weights; a backend's `load_model` always
    sees it filled. `parts` name the files that take the place of the folder's weights. `options` have been validated by
    the schema that the backend declared. With two `experts` the first steps are guided by `guidance_scale`, the last
    ones by `guidance_scale_2`. Of a prompt the first `prompt_tokens` are read, None for all of it.

    Jobs of a higher `priority` go first. `price` is that of a second of work, in any unit of money. `engines` limits
    the engines that load the model, `devices` (`cpu`, `cuda` for every GPU, `cuda:1`) names theirs. A `pin`ned model is
    never unloaded for another; a model to `warm_up` is loaded, and runs once, before the first request, and once more
    at each of `warm_sizes`. `text_only` says what becomes of a `/v1/responses` request without media options, such as a
    chat's. Of its `adapters` a request that names none uses those in `default_adapters`.
    """

    name: str
    backend: str
    modality: Modality
    defaults: Defaults
    limits: Limits
    size_multiple: int
    source: str | None = None
    revision: str | None = None
    parts: PartFiles = field(default_factory=lambda: NO_FILES)
    download: bool = False
    pin: bool = False
    warm_up: bool = False
    warm_sizes: tuple[Size, ...] = ()
    priority: int = 0
    price: float | None = None
    engines: int | None = None
    devices: tuple[str, ...] = ()
    family: str | None = None
    experts: int = 1
    prompt_tokens: int | None = None
    aliases: tuple[str, ...] = ()
    text_only: str = "make"
    adapters: tuple[Adapter, ...] = ()
    default_adapters: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    folder: Path | None = None

    def may_run_on(self, device: str) -> bool:
        return not self.devices or device in self.devices or device.partition(":")[0] in self.devices

    def loads_as(self, other: ModelSpec) -> bool:
        """Return whether `other`, once loaded, serves this model too."""
        names = (entry.name for entry in fields(self) if entry.name not in OF_REQUESTS)
        return self.merged == other.merged and all(getattr(self, name) == getattr(other, name) for name in names)

    @property
    def merged(self) -> tuple[Adapter, ...]:
        """The adapters that are part of its weights."""
        return tuple(replace(each, defaults={}, paths=PerExpert(None, None)) for each in self.adapters if each.merge)


# the fields of a model on which nothing that is loaded for it depends
OF_REQUESTS = ("adapters", "aliases", "default_adapters", "defaults", "devices", "download", "engines", "folder",
               "limits", "pin", "price", "priority", "prompt_tokens", "text_only", "warm_sizes", "warm_up")  # fmt: skip


@dataclass(frozen=True)
class BrokenModel:
    """An entry with an unservable folder or backend.

    Callers may read `reason`: it names parts and files, no path. `problem` is for the operator, with the path.
    `modality` is the entry's own, None without one.
    """

    name: str
    backend: str
    source: str | None
    reason: str
    problem: Problem = field(compare=False)
    modality: Modality | None = None
    revision: str | None = None
    parts: PartFiles = field(default_factory=lambda: NO_FILES)
    aliases: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The state in a table of models."""
        return f"broken: {self.reason}"


@dataclass(frozen=True)
class Route:
    """A name for several models; the first able to take the inputs runs."""

    name: str
    members: tuple[str, ...]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registry:
    """The served models and routes; names and aliases are unique.

    `revision` is its published number, None if unpublished. `broken` are the entries that cannot be served; `notes`
    name differences between an entry and its folder. `traits` are those of the folders, by source as written. `lacks`
    says why this machine cannot load a model that others may load.
    """

    models: tuple[ModelSpec, ...]
    routes: tuple[Route, ...] = ()
    default: str | None = None
    file: str = field(default="", compare=False)
    revision: int | None = field(default=None, compare=False)
    broken: tuple[BrokenModel, ...] = ()
    notes: tuple[Problem, ...] = field(default=(), compare=False)
    traits: Traits = field(default_factory=dict, compare=False)
    lacks: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def entries(self) -> tuple[ModelSpec | Route | BrokenModel, ...]:
        """Every name's entry, routes first."""
        return (*self.routes, *self.models, *self.broken)

    @cached_property
    def _by_name(self) -> Mapping[str, ModelSpec | Route | BrokenModel]:
        return {name: entry for entry in self.entries for name in (entry.name, *entry.aliases)}

    def find(self, name: str) -> ModelSpec | Route | BrokenModel | None:
        """Return the model or route with this name or alias, or None."""
        return self._by_name.get(name)

    def members(self, route: Route) -> tuple[ModelSpec, ...]:
        """Return the servable models of `route`, in order of choice."""
        return tuple(model for model in map(self.find, route.members) if isinstance(model, ModelSpec))

    def broken_members(self, route: Route) -> tuple[BrokenModel, ...]:
        return tuple(model for model in map(self.find, route.members) if isinstance(model, BrokenModel))
