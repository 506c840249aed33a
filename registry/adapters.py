"""Adapters (LoRAs) of a model's entry, as frozen values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from registry.bounds import Bounds

T = TypeVar("T")
FILE = "pytorch_lora_weights.safetensors"  # diffusers' name, for a folder or a repository without `files`
PEFT_CONFIG = "adapter_config.json"  # peft's, beside its file: without the factors in it the strength is another
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
STRENGTH = Bounds(-10, 10)


class PerExpert(NamedTuple, Generic[T]):
    """A value for the high-noise expert or only transformer, and the low-noise one."""

    high: T
    low: T


BOTH: PerExpert[str | None] = PerExpert(FILE, FILE)
FULL = PerExpert(1.0, 1.0)
NOWHERE: PerExpert[Path | None] = PerExpert(None, None)


@dataclass(frozen=True)
class Adapter:
    """A LoRA that requests name; it changes the transformers.

    `source` is a safetensors file, a folder, a hub id, or `embedded:FAMILY/NAME`. `files` are the file of each expert
    within the source, None for an expert without one, '' where the source is the file. `defaults` take the place of
    the model's while it is used. A model that `merge`s it always uses it. `paths` are its files on this machine, filled
    in by the engine before a backend sees it.
    """

    name: str
    source: str
    files: PerExpert[str | None] = BOTH
    revision: str | None = None
    strength: PerExpert[float] = FULL
    defaults: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    merge: bool = False
    paths: PerExpert[Path | None] = NOWHERE

    @property
    def file_names(self) -> tuple[str, ...]:
        """Its files within the source, each once."""
        return tuple(dict.fromkeys(file for file in self.files if file is not None))
