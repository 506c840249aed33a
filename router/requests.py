"""A request, whatever HTTP dialect it came in: what was said, before any default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry import Input


@dataclass(frozen=True)
class Options:
    """The generation options that a caller gave; None where they did not say. Units as in `Task`."""

    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    frames_per_second: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    guidance_scale_2: float | None = None
    flow_shift: float | None = None
    negative_prompt: str | None = None


@dataclass(frozen=True)
class Picture:
    """An image that a request carries: its role, its URL, and the field that an error about it names."""

    role: Input
    url: str
    param: str


@dataclass(frozen=True)
class Request:
    """One parsed request. `params` prefixes the names of option fields in errors; `form` is the dialect's own."""

    model: str | None
    prompt: str
    pictures: tuple[Picture, ...] = ()
    options: Options = Options()
    seed: int | None = None
    params: str = "provider_options.video"
    form: Mapping[str, Any] = field(default_factory=dict)

    @property
    def given(self) -> frozenset[Input]:
        return frozenset({Input.TEXT, *(picture.role for picture in self.pictures)})
