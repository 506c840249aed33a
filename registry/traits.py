"""The traits of a model folder that decide modality, defaults and limits."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FolderTraits:
    """What a registry reads from a folder, for machines without it.

    `numbers` are those of configurations: part, key and value.
    """

    pipeline: str
    boundary_ratio: float | None
    expand_timesteps: bool
    numbers: tuple[tuple[str, str, int], ...]


Traits = Mapping[str, FolderTraits]  # by source as written, with its revision
