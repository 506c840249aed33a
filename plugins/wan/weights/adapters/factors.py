"""The factors of an adapter's products, as its trainer wrote them down."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.folders.files import absent, read_json

PEFT_CONFIG = "adapter_config.json"  # peft's, beside the file
METADATA = "lora_adapter_metadata"  # diffusers' key in the header
PREFIX = "transformer."  # of diffusers' keys there


@dataclass(frozen=True)
class Factors:
    """A trainer's `alpha`, also by pattern; without one, products count as they are."""

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    rank_stabilized: bool = False  # peft's rsLoRA

    def of(self, module: str, rank: int) -> float:
        """Return the factor of the product of `rank` that changes a module."""
        alpha = next((each for key, each in self.patterns.items() if _matches(key, module)), self.alpha)
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)


def factors_of(path: Path, metadata: Mapping[str, Any]) -> Factors:
    """Return the factors in a file's `metadata`, else those that peft writes beside it.

    Raises `FolderError` for a broken file of peft's.
    """
    text = metadata.get(METADATA)
    if isinstance(text, str):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        return _read(found, PREFIX) if isinstance(found, dict) else Factors()
    beside = path.with_name(PEFT_CONFIG)
    return Factors() if absent(beside) else _read(read_json(beside, f"{PEFT_CONFIG} beside {path.name}"), "")


def _read(found: Mapping[str, Any], prefix: str) -> Factors:
    patterns = found.get(f"{prefix}alpha_pattern")
    known = {key: _number(value) for key, value in patterns.items()} if isinstance(patterns, dict) else {}
    return Factors(
        _number(found.get(f"{prefix}lora_alpha")),
        {key: value for key, value in known.items() if value is not None},
        found.get(f"{prefix}use_rslora") is True,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _matches(key: str, module: str) -> bool:
    # peft reads a key as the end of a module's name
    return re.search(rf"(?:^|\.){re.escape(key)}$", module) is not None
