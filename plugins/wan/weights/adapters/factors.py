"""The factors of an adapter's products, as its trainer wrote them down."""

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.adapters import PEFT_CONFIG
from registry.folders import FolderError
from registry.folders.files import absent, read_json

PEFT = "base_model.model."  # before all names of tensors in peft's files
OF_OTHER_WEIGHTS = ("pissa", "corda", "olora", "loftq", "lora_ga")  # peft's starts that change the model's own
LARGEST = 1e30  # of a factor
METADATA = "lora_adapter_metadata"  # diffusers' key in the header
PREFIX = "transformer."  # of diffusers' keys there
LAYER = re.compile(r"\^?(?:[\w-]|\\?\.)+\$?")  # the part of peft's regular expressions that is read


@dataclass(frozen=True)
class Factors:
    """A trainer's `alpha`, also by pattern; without one, products count as they are."""

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    rank_stabilized: bool = False  # peft's rsLoRA

    def of(self, modules: Collection[str], rank: int) -> float:
        """Return the factor of a product of `rank`; `modules` are names of one module."""
        alpha = next((each for key, each in self.patterns.items() if _matches(key, modules)), self.alpha)
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)


def factors_of(path: Path, metadata: Mapping[str, Any], names: Collection[str]) -> Factors:
    """Return the factors in a file's `metadata`, else those that peft writes beside it.

    `names` are those of its tensors: what is beside it may belong to a neighbour unless peft wrote them.
    Raises `FolderError` for a broken file of peft's, and for factors that are not read.
    """
    text = metadata.get(METADATA)
    if isinstance(text, str):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise FolderError(f"{path.name} must have a JSON object as its {METADATA}, got {text[:100]!r}", path)
        return _read(found, PREFIX, path, path.name)
    if not any(name.startswith(PEFT) for name in names):
        return Factors()
    return next((_read(read_json(each, _what(path)), "", each, _what(path)) for each in beside(path)), Factors())


def beside(path: Path) -> tuple[Path, ...]:
    """Return peft's file beside an adapter's, if there is one."""
    config = path.with_name(PEFT_CONFIG)
    return () if absent(config) else (config,)


def _what(path: Path) -> str:
    return f"{PEFT_CONFIG} beside {path.name}"


def _read(found: Mapping[str, Any], prefix: str, path: Path, what: str) -> Factors:
    start = str(found.get(f"{prefix}init_lora_weights")).lower()
    if start.startswith(OF_OTHER_WEIGHTS):
        raise FolderError(f"{what} must be for the model's own weights, got init_lora_weights {start[:100]}", path)
    patterns = found.get(f"{prefix}alpha_pattern")
    known = patterns if isinstance(patterns, dict) else {}
    if (strange := next((key for key in known if not LAYER.fullmatch(key)), None)) is not None:
        raise FolderError(f"{what} must name layers in alpha_pattern, got the expression {strange[:100]!r}", path)
    numbers = {"lora_alpha": found.get(f"{prefix}lora_alpha"), **known}
    if (name := next((key for key, value in numbers.items() if not _is_number(value)), None)) is not None:
        raise FolderError(f"{what} must have a number for {name[:100]}, got {str(numbers[name])[:100]}", path)
    alphas = {key: float(value) for key, value in numbers.items() if value is not None}
    return Factors(alphas.pop("lora_alpha", None), alphas, found.get(f"{prefix}use_rslora") is True)


def _is_number(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < LARGEST  # false for NaN too


def _matches(key: str, modules: Collection[str]) -> bool:
    # peft reads a key as the end of a module's name, from its start with ^
    layer = key.removeprefix("^").removesuffix("$").replace("\\.", ".")
    ends = () if key.startswith("^") else (f".{layer}",)
    return any(module == layer or module.endswith(ends) for module in modules)
