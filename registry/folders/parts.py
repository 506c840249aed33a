"""The parts of a model folder: configurations, the bounds of their numbers, and checks."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.errors import FolderError
from registry.folders import single_file
from registry.folders.files import beginning, names, read_json, readable_size
from registry.folders.model import CLASSES, INDEX, OPTIONAL, WEIGHTLESS, Part
from registry.folders.shapes import require_shapes, require_whole
from registry.folders.weights import STEMS, find

QUANTISED = "quantization_config"  # of a configuration
OURS = "framegate"  # the method that `framegate convert` writes there
CONFIGS = {"scheduler": "scheduler_config.json", "image_processor": "preprocessor_config.json"}
VOCABULARIES = ("tokenizer.json", "spiece.model")
# where there are any; the last is not a tokenizer's, but transformers looks into it
OF_TOKENIZERS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json")
TEMPLATES = "additional_chat_templates"  # a folder that transformers would read
MAX_VOCABULARY_BYTES = 64 * 2**20  # umT5's are of 9 to 21 MB together
OURS = "framegate"  # the method in configurations that `framegate convert` writes

MOST_WHOLE = 2**20  # the largest honest one is a vocabulary of 256,384
MOST_FLOAT = 1e9
MOST_VALUES = 100_000
MOST_DEEP = 16
ANY_SIZE = ("model_max_length",)  # of a tokenizer, where transformers writes 10**30 for none

SIZES = ("size", "crop_size")  # of an image processor, which may be a number, or a height and a width

# counts and sizes that a class turns into work or memory, by part; `scheduler` makes its tables for each job
LIMITS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "scheduler": {"num_train_timesteps": (1, 100_000), "solver_order": (1, 10), "steps_offset": (0, 1000)},
    "image_processor": dict.fromkeys((*SIZES, "shortest_edge", "longest_edge", "height", "width"), (1, 4096)),
    "tokenizer": {"extra_ids": (0, 1000)},
    "text_encoder": {"num_labels": (0, 1000)},
    "image_encoder": {"num_labels": (0, 1000)},
}


def read_part(path: Path, name: str, entry: object, file: Path | None = None) -> Part | None:
    """Return the part of an index's `entry`, None if left out.

    Its weights are those of `file`, where there is one.
    """
    if entry in (None, [None, None]):
        if name in OPTIONAL:
            return None
        raise FolderError(f"{INDEX} must list a {name}, it does not", path / INDEX)
    library, class_name = _class_of(path, name, entry)
    folder = path / name
    found = names(folder, name)
    if name == "tokenizer":
        _require_vocabulary(folder, found)
        _require_tokenizer(folder, found)
        return Part(name, folder, library, class_name, {}, None)
    settings = _settings(folder, name)
    if name in WEIGHTLESS:
        return Part(name, folder, library, class_name, settings, None)
    quantised = settings.pop(QUANTISED, None)
    if file is not None:
        base = Part(name, folder, library, class_name, settings, None)
        weights, shapes = single_file.read(file, base)
        require_whole(base, shapes, file)
        return replace(base, weights=weights)
    _require_known(folder, name, quantised)
    weights, shapes = find(folder, name, STEMS[library], found)
    part = Part(name, folder, library, class_name, settings, weights)
    require_shapes(part, shapes)
    return part


def _class_of(path: Path, name: str, entry: object) -> tuple[str, str]:
    library, *known = CLASSES[name]
    match entry:
        case [str(named), str(class_name)] if named == library and class_name in known:
            return library, class_name
    needed = " or ".join(sorted(known))
    raise FolderError(f"{name} of {INDEX} must be {needed} of {library}, got {str(entry)[:100]}", path / INDEX)


def _settings(folder: Path, name: str) -> dict[str, Any]:
    config = CONFIGS.get(name, "config.json")
    settings = read_json(folder / config, f"{config} of {name}")
    _require_bounds(name, settings, folder / config)
    if not isinstance(settings.get("vision_config", {}), dict):
        message = f"vision_config of {name} must be a JSON object, got {str(settings['vision_config'])[:100]}"
        raise FolderError(message, folder / config)
    return settings


def _require_vocabulary(folder: Path, found: frozenset[str]) -> None:
    # a large one may be a Git LFS pointer
    there = [name for name in VOCABULARIES if name in found]
    if not there:
        raise FolderError(f"tokenizer needs {' or '.join(VOCABULARIES)}, it has neither", folder, missing=True)
    for name in there:
        head, _ = beginning(folder / name, f"{name} of tokenizer")
        if name.endswith(".json") and not head.lstrip().startswith(b"{"):  # all of it would take as long as the rest
            raise FolderError(f"{name} of tokenizer must hold a JSON object, it does not", folder / name)


def _require_tokenizer(folder: Path, found: frozenset[str]) -> None:
    if TEMPLATES in found:
        raise FolderError(f"tokenizer has {TEMPLATES}, which no text encoder needs: remove it", folder)
    files = [name for name in sorted(found) if not os.path.isdir(folder / name)]
    if sum(readable_size(folder / name, f"{name} of tokenizer") for name in files) > MAX_VOCABULARY_BYTES:
        raise FolderError(f"the files of tokenizer have more than {MAX_VOCABULARY_BYTES:,} bytes", folder)
    for name in sorted(found.intersection(OF_TOKENIZERS)):
        _require_bounds("tokenizer", read_json(folder / name, f"{name} of tokenizer"), folder / name)


def _require_known(folder: Path, name: str, quantised: object) -> None:
    method = quantised.get("quant_method") if isinstance(quantised, dict) else None
    if quantised and method != OURS:
        how = str(method or "an unnamed method")[:100]
        needed = "bf16, fp16, fp32, and fp8 and int8 with scales are read"
        raise FolderError(f"{name} holds quantised weights, by {how}; {needed}", folder / "config.json")


def _require_bounds(part: str, settings: Mapping[str, Any], file: Path) -> None:
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
