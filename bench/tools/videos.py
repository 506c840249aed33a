"""Videos of an embedded model's held-out prompts, by the backend itself."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nano.requests import held_out
from registry.parts import NO_FILES, PartFiles


@dataclass(frozen=True)
class Videos:
    """Makes the first `count` held-out clips of a model in `steps`.

    `load` returns the subject of a model's name and changes.
    """

    load: Callable[..., Any]
    name: str
    count: int
    steps: int

    def make(self, options: Mapping[str, object], parts: PartFiles = NO_FILES) -> list[Any]:
        """Return the frames of each clip by a model of these options and files."""
        model = self.load(self.name).model
        subject = self.load(self.name, options={**model.options, **options}, parts=parts)
        plain = replace(subject.task, **vars(model.defaults) | {"steps": self.steps, "flow_shift": 2.0})
        requests = held_out(self.count, with_image=False)
        return [subject.video(replace(plain, prompt=one.prompt, seed=one.seed)) for one in requests]


def psnr(one: Any, other: Any) -> float:
    """Return the peak signal-to-noise ratio of two clips in dB, at most 99."""
    error = float(((one.astype(float) - other.astype(float)) ** 2).mean())
    return 99.0 if error == 0 else 10 * math.log10(255**2 / error)
