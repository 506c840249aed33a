"""Bounds on every number of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from registry.errors import FolderError

MOST_WHOLE = 2**20  # the largest honest one is a vocabulary of 256,384
MOST_FLOAT = 1e9
MOST_VALUES = 100_000
MOST_DEEP = 16
ANY_SIZE = ("model_max_length",)  # of a tokenizer, where transformers writes 10**30 for none

SIZES = ("size", "crop_size")  # of an image processor, which may be a number, or a height and a width

# counts and sizes that a class turns into work or memory, by part; `scheduler` makes its tables for each job
LIMITS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "scheduler": {
        "num_train_timesteps": (1, 100_000),
        "solver_order": (1, 10),
        "steps_offset": (0, 1000),
    },
    "image_processor": dict.fromkeys((*SIZES, "shortest_edge", "longest_edge", "height", "width"), (1, 4096)),
    "tokenizer": {"extra_ids": (0, 1000)},
    "text_encoder": {"num_labels": (0, 1000)},
    "image_encoder": {"num_labels": (0, 1000)},
}


def require_bounds(part: str, settings: Mapping[str, Any], file: Path) -> None:
    """Raise `FolderError` for a value beyond those of any real model."""
    limits = LIMITS.get(part, {})
    waiting: list[tuple[str, Any, int]] = [(key, value, 1) for key, value in settings.items()]
    for seen, (key, value, depth) in enumerate(_each(waiting)):
        if seen == MOST_VALUES:
            raise FolderError(f"{file.name} of {part} has more than {MOST_VALUES:,} values", file)
        if depth > MOST_DEEP:
            raise FolderError(f"{file.name} of {part} is nested over {MOST_DEEP} deep", file)
        if (needed := _needed(key, value, limits)) is not None:
            raise FolderError(f"{key[:100]} of {part} must be {needed}, got {str(value)[:100]}", file)


def _each(waiting: list[tuple[str, Any, int]]) -> Iterator[tuple[str, Any, int]]:
    while waiting:
        key, value, depth = waiting.pop()
        yield key, value, depth
        if isinstance(value, dict):
            waiting.extend((inner, each, depth + 1) for inner, each in value.items())
        elif isinstance(value, list):
            waiting.extend((key, each, depth + 1) for each in value)


def _needed(key: str, value: Any, limits: Mapping[str, tuple[int, int]]) -> str | None:
    if key in limits and not (key in SIZES and isinstance(value, dict)):  # its height and width are looked at next
        fewest, most = limits[key]
        return None if type(value) is int and fewest <= value <= most else f"from {fewest} to {most}"
    if isinstance(value, float):
        return None if abs(value) <= MOST_FLOAT else f"a number up to {MOST_FLOAT:g}"  # NaN is not, either
    if isinstance(value, int) and key not in ANY_SIZE:
        return None if abs(value) <= MOST_WHOLE else f"a number up to {MOST_WHOLE:,}"
    return None
