"""Features of a job and of its model that decide its time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from registry import Input, ModelSpec, Size
from registry.families import find
from router.values import Task

WIDTH = 2048  # of the transformer of a model without a known family
FRAMES_A_LATENT = 4
MOST_MODE = 256  # characters, the width of the column
GUIDED, UNGUIDED = "guided", "unguided"
IMAGES = {Input.IMAGE.value, Input.LAST_IMAGE.value}


@dataclass(frozen=True)
class Features:
    """What the seconds of a job grow with.

    A step makes `passes` over `tokens`; `pixels` are those of all frames, `image_pixels` the same in jobs with images,
    whose frames are encoded first, else 0.
    """

    passes: int
    tokens: float
    pixels: int
    image_pixels: int


def size_of(task: Task) -> Size:
    return Size(task.width, task.height, task.num_frames)


def mode_of(task: Task) -> str:
    """Return guidance, kinds of input and adapters, such as `guided image,text +style`."""
    words = [GUIDED if task.guidance_scale > 1 else UNGUIDED, ",".join(sorted(task.input_kinds))]
    names = "".join(sorted(f"+{used.name}" for used in task.adapters))  # in any order they take the same time
    mode = " ".join([*words, names]).rstrip()
    return mode if len(mode) <= MOST_MODE else " ".join([*words, _digest(names)])


def without_adapters(mode: str) -> str:
    return " ".join(mode.split(" ")[:2])


def features_of(size: Size, mode: str, size_multiple: int) -> Features:
    """Return the features of a job of this size and mode."""
    guidance, kinds = without_adapters(mode).split(" ")
    latents = (size.num_frames - 1) / FRAMES_A_LATENT + 1
    tokens = size.width / size_multiple * (size.height / size_multiple) * latents
    pixels = size.width * size.height * size.num_frames
    has_images = not IMAGES.isdisjoint(kinds.split(","))
    return Features(2 if guidance == GUIDED else 1, tokens, pixels, pixels if has_images else 0)


class Variant(NamedTuple):
    """What else of a model's entry changes the seconds of a job.

    `width` is that of its transformer, `digest` of its weights, their backend and its options.
    """

    width: int
    size_multiple: int
    digest: str

    @classmethod
    def of(cls, model: ModelSpec) -> Variant:
        merged = [(each.name, each.source, each.revision, each.files) for each in model.merged]
        parts = {name: vars(part) for name, part in model.parts.items()}
        rest = model.backend, model.source, model.revision, model.options, parts, merged
        family = find(model.family) if model.family else None
        digest = _digest(json.dumps(rest, default=_plain, sort_keys=True))
        return cls(family.inner_dim if family else WIDTH, model.size_multiple, digest)

    @classmethod
    def parse(cls, text: str) -> Variant:
        width, size_multiple, digest = text.split("-")
        return cls(int(width), int(size_multiple), digest)

    def __str__(self) -> str:
        return "-".join(map(str, self))


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
