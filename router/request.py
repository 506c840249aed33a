"""A parsed request of either HTTP dialect, before any default."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry import Input, PerExpert
from router.values import Presentation, StoredInput


@dataclass(frozen=True)
class Options:
    """The generation options of a caller, each None where it was left out.

    Units are those of `Task`; `seconds` times the rate in use is `num_frames`.
    """

    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    seconds: float | None = None
    frames_per_second: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    guidance_scale_2: float | None = None
    flow_shift: float | None = None
    negative_prompt: str | None = None


@dataclass(frozen=True)
class ImageInput:
    """An input image: its role, its URL, and the field that an error names.

    `data` are its bytes where they came without a URL; `stored` says what is known of them, where they are of a job.
    `size` (width and height in pixels) stands for an image in the request for an estimate.
    """

    role: Input
    url: str
    param: str
    data: bytes | None = None
    stored: StoredInput | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class AdapterChoice:
    """An adapter by name; at its own strength if `strength` is None."""

    name: str
    strength: PerExpert[float] | None = None

    def __repr__(self) -> str:
        if self.strength is None:
            return self.name
        high, low = self.strength
        return f"{self.name} at {high:g}" if high == low else f"{self.name} at {high:g} and {low:g}"


@dataclass(frozen=True)
class Request:
    """One parsed request; `presentation` is for the renderers.

    `priority_offset` is added to the model's priority; above 0 the request goes before others for its model.
    `warnings` are sentences about what was sent and has no meaning here. `fit_size` shrinks a size beyond the model's
    limit, with a warning, instead of refusing it. `count` images of one frame are as many jobs, with seeds counted up.
    `adapters` are None where the caller leaves the choice to the model's entry.
    Errors call a field what its dialect calls it: as `names` has it, else by its own name after `params`.
    """

    model: str | None
    prompt: str
    pictures: tuple[ImageInput, ...] = ()
    options: Options = Options()
    adapters: tuple[AdapterChoice, ...] | None = None
    seed: int | None = None
    priority_offset: int = 0
    params: str = "provider_options.video"
    names: Mapping[str, str] = field(default_factory=lambda: {"prompt": "input", "inputs": "input"})
    presentation: Presentation = field(default_factory=Presentation)
    warnings: tuple[str, ...] = ()
    fit_size: bool = False
    count: int = 1

    @property
    def input_kinds(self) -> frozenset[Input]:
        return frozenset({Input.TEXT, *(picture.role for picture in self.pictures)})

    def param(self, name: str) -> str:
        """Return what the caller calls the field `name`."""
        return self.names.get(name) or f"{self.params}.{name}"
