"""Read what a folder is; the answer is kept until one of the files that it came from changes."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from registry.folders import elsewhere
from registry.folders.agreement import require_agreement
from registry.folders.bounds import require_bounds
from registry.folders.errors import FolderError
from registry.folders.files import beginning, names, read_json, readable_size
from registry.folders.model import (
    CLASSES,
    IMAGE_TO_VIDEO,
    INDEX,
    OPTIONAL,
    TEXT_TO_VIDEO,
    WEIGHTLESS,
    ModelFolder,
    Part,
)
from registry.folders.shapes import require_shapes
from registry.folders.weights import STEMS, Weights, find

CONFIGS = {"scheduler": "scheduler_config.json", "image_processor": "preprocessor_config.json"}
VOCABULARIES = ("tokenizer.json", "spiece.model")
# where there are any; the last is not a tokenizer's, but transformers looks into it
OF_TOKENIZERS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json")
TEMPLATES = "additional_chat_templates"  # a folder that transformers would read
MAX_VOCABULARY_BYTES = 64 * 2**20  # umT5's are of 9 to 21 MB together
KEPT = 256  # folders

Stamp = tuple[tuple[str | int, ...], ...]  # path, mtime and ctime in ns, bytes, inode of all that was looked at
_kept: OrderedDict[Path, tuple[Stamp, ModelFolder | FolderError]] = OrderedDict()
_lock = Lock()


def read(path: Path) -> ModelFolder:
    """Return what the folder `path` is; raise `FolderError` with the first reason why it cannot be served."""
    path = path.absolute()
    with _lock:
        known = _kept.get(path)
    if known is None or _stamp(path, known[1]) != known[0]:
        known = _looked(path)
        with _lock:
            _kept[path] = known
            _kept.move_to_end(path)
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
    if isinstance(known[1], FolderError):
        raise known[1].again()
    return known[1]


def weights_in(folder: Path, part: str, library: str = "diffusers") -> Weights:
    """Return the weights in one part's folder; raise `FolderError` as `read` does."""
    return find(folder, part, STEMS[library], names(folder, part))[0]


def missing(path: Path) -> str | None:
    """Return what a folder lacks, in words without paths; None where nothing does, or another thing is wrong."""
    if not os.path.isfile(path / INDEX):
        return None  # another layout
    try:
        read(path)
    except FolderError as error:
        return error.reason if error.missing else None
    return None


def changed_at(path: Path) -> float:
    """Return when something that counts in a folder was changed last, in seconds since 1970; 0 where there is none.

    By the time that nobody can set: copies keep the other one.
    """
    with _lock:
        known = _kept.get(path.absolute())
    times = [0.0]
    for each in _counting(path, known[1] if known else None):
        with suppress(OSError):
            times += [each.stat().st_ctime, each.lstat().st_ctime]  # that of a link which was switched, too
    return max(times)


def _looked(path: Path) -> tuple[Stamp, ModelFolder | FolderError]:
    before = _stamp(path, None)
    try:
        found: ModelFolder | FolderError = _read(path)
    except FolderError as error:
        found = error.again()
    stamp = _stamp(path, found)
    # what changed while it was read is read again the next time
    return (stamp if set(before) <= set(stamp) else (), found)


def _stamp(path: Path, found: ModelFolder | FolderError | None) -> Stamp:
    """Return by what a change is noticed: the folders, their files' names, and the files that count."""
    stamp: list[tuple[str | int, ...]] = []
    for each in _counting(path, found):
        try:
            status = each.stat()
        except OSError:
            stamp.append((str(each),))
        else:
            stamp.append((str(each), status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
    return tuple(stamp)


def _counting(path: Path, found: ModelFolder | FolderError | None) -> Iterator[Path]:
    yield path
    yield path / INDEX
    for name in CLASSES:
        yield path / name
        yield path / name / "config.json"
    for name, config in CONFIGS.items():
        yield path / name / config
    for file in (*VOCABULARIES, *OF_TOKENIZERS):
        yield path / "tokenizer" / file
    if isinstance(found, FolderError):
        yield found.path
    elif found is not None:
        for part in found.parts.values():
            yield from part.weights.files if part.weights else ()


def _read(path: Path) -> ModelFolder:
    if not os.path.exists(path / INDEX):
        raise elsewhere.explained(path)
    index = read_json(path / INDEX, INDEX)
    pipeline = index.get("_class_name")
    if pipeline not in (TEXT_TO_VIDEO, IMAGE_TO_VIDEO):
        said = f"{INDEX} must be of a {TEXT_TO_VIDEO} or a {IMAGE_TO_VIDEO}, got {str(pipeline)[:100]}"
        raise FolderError(said, path / INDEX)
    ratio = _ratio(path, index)
    parts = {name: part for name in CLASSES if (part := _part(path, name, index.get(name))) is not None}
    folder = ModelFolder(path, pipeline, parts, ratio, index.get("expand_timesteps") is True)
    require_agreement(folder)
    try:
        folder.family  # noqa: B018 - configurations of nonsense are found here, not by whoever asks
    except (ValueError, OverflowError) as error:
        raise FolderError(f"its configurations make no model: {error}", path) from error
    return folder


def _ratio(path: Path, index: dict[str, Any]) -> float | None:
    """Return the boundary between two experts, None for one."""
    ratio, second = index.get("boundary_ratio"), index.get("transformer_2")
    if ratio is None and second in (None, [None, None]):
        return None
    if second in (None, [None, None]):
        said = f"{INDEX} has boundary_ratio {str(ratio)[:100]}, so it needs a transformer_2; none is listed"
        raise FolderError(said, path / INDEX)
    if ratio is None:
        said = f"{INDEX} lists a transformer_2 and no boundary_ratio, so nothing says when it takes over"
        raise FolderError(said, path / INDEX)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
        raise FolderError(f"boundary_ratio of {INDEX} must be from 0 to 1, got {str(ratio)[:100]}", path / INDEX)
    return float(ratio)


def _part(path: Path, name: str, entry: object) -> Part | None:
    """Return the part that `entry` of a model index names, None where it may be, and is, left out."""
    if entry in (None, [None, None]):
        if name in OPTIONAL:
            return None
        raise FolderError(f"{INDEX} must list a {name}, it does not", path / INDEX)
    library, known = CLASSES[name]
    match entry:
        case [str(given), str(class_name)] if given == library and class_name in known:
            pass
        case _:
            needed = " or ".join(sorted(known))
            said = f"{name} of {INDEX} must be {needed} of {library}, got {str(entry)[:100]}"
            raise FolderError(said, path / INDEX)
    folder = path / name
    found = names(folder, name)
    if name == "tokenizer":
        _require_vocabulary(folder, found)
        _require_tokenizer(folder, found)
        return Part(name, folder, library, class_name, {}, None)
    config = CONFIGS.get(name, "config.json")
    settings = read_json(folder / config, f"{config} of {name}")
    require_bounds(name, settings, folder / config)
    if name in WEIGHTLESS:
        return Part(name, folder, library, class_name, settings, None)
    _require_plain(folder, name, settings)
    if not isinstance(settings.get("vision_config", {}), dict):
        said = f"vision_config of {name} must be a JSON object, got {str(settings['vision_config'])[:100]}"
        raise FolderError(said, folder / config)
    weights, shapes = find(folder, name, STEMS[library], found)
    part = Part(name, folder, library, class_name, settings, weights)
    require_shapes(part, shapes)
    return part


def _require_vocabulary(folder: Path, found: frozenset[str]) -> None:
    """Raise where there is no vocabulary, or what is called so is something else (large ones are kept by Git LFS)."""
    there = [name for name in VOCABULARIES if name in found]
    if not there:
        raise FolderError(f"tokenizer needs {' or '.join(VOCABULARIES)}, it has neither", folder, missing=True)
    for name in there:
        head, _ = beginning(folder / name, f"{name} of tokenizer")
        if name.endswith(".json") and not head.lstrip().startswith(b"{"):  # all of it would take as long as the rest
            raise FolderError(f"{name} of tokenizer must hold a JSON object, it does not", folder / name)


def _require_tokenizer(folder: Path, found: frozenset[str]) -> None:
    """Raise where a tokenizer has a file that cannot be read, or takes for ever: transformers reads what it finds."""
    if TEMPLATES in found:
        raise FolderError(f"tokenizer has {TEMPLATES}, which no text encoder needs: remove it", folder)
    files = [name for name in sorted(found) if not os.path.isdir(folder / name)]
    if sum(readable_size(folder / name, f"{name} of tokenizer") for name in files) > MAX_VOCABULARY_BYTES:
        raise FolderError(f"the files of tokenizer have more than {MAX_VOCABULARY_BYTES:,} bytes", folder)
    for name in sorted(found.intersection(OF_TOKENIZERS)):
        require_bounds("tokenizer", read_json(folder / name, f"{name} of tokenizer"), folder / name)


def _require_plain(folder: Path, name: str, settings: dict[str, Any]) -> None:
    """Raise where a part's configuration says that a library has quantised its weights."""
    quantised = settings.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        how = str(method or "an unnamed method")[:100]
        raise FolderError(
            f"{name} holds quantised weights, by {how}; bf16, fp16 and fp32 are read: bring the model in bf16",
            folder / "config.json",
        )
