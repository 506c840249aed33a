"""The input and output of a backend: a task, and its frames."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry import Input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
else:
    Pixels = Any  # numpy takes a tenth of a second to import, in processes that never see a pixel
Preview = Callable[[], Pixels]


@dataclass(frozen=True)
class UsedAdapter:
    """An adapter of the model's entry, and its strength for each expert.

    `high` is that for the only transformer of a model with one; at a strength of 0 it is not used.
    """

    name: str
    high: float = 1.0
    low: float = 1.0


@dataclass(frozen=True)
class Task:
    """The effective values of a request: no default is left to the backend.

    `width` and `height` are pixels, multiples of the model's `size_multiple`; `num_frames` is 4k+1.
    `input_kinds` are the kinds of input that the caller sent. `image` and `last_image` are RGB pictures, uint8
    of shape `(height, width, 3)`, upright, cropped and resized to the task's size; the engine fills them
    in, so a `check_request` hook sees `input_kinds` and the final size but no pixels. Several `adapters` add up.
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
    input_kinds: frozenset[Input]
    adapters: tuple[UsedAdapter, ...] = ()
    image: Pixels | None = field(default=None, compare=False)
    last_image: Pixels | None = field(default=None, compare=False)

    @property
    def shape(self) -> str:
        """Return size, guidance and adapters, such as `832x480x81` or `832x480x81-unguided+fast4`."""
        guidance = "" if self.guidance_scale > 1 else "-unguided"
        names = sorted(f"+{used.name}" for used in self.adapters)  # in any order they take the same time
        return f"{self.width}x{self.height}x{self.num_frames}{guidance}{''.join(names)}"


@dataclass(frozen=True)
class Frames:
    """The pixels of a video in order, in chunks, as they become ready.

    `pixels` yields RGB arrays, uint8 of shape `(n, height, width, 3)`; their `n` add up to
    `num_frames`. The engine iterates (errors inside are the backend's) and closes a generator
    in any case. `warnings` are sentences for the caller, such as a prompt that was cut. `late_warnings` returns those
    that are known only from the pixels; it is called once, after the last chunk was taken.
    """

    pixels: Iterator[Pixels]
    num_frames: int
    width: int
    height: int
    frames_per_second: int
    warnings: tuple[str, ...] = ()
    late_warnings: Callable[[], tuple[str, ...]] = tuple
