"""The reader of model folders, with a cache that follows their files."""

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any

from registry.errors import FolderError
from registry.folders import foreign_layouts
from registry.folders.agreement import require_agreement
from registry.folders.files import names, read_json
from registry.folders.model import CLASSES, IMAGE_TO_VIDEO, INDEX, TEXT_TO_VIDEO, ModelFolder
from registry.folders.parts import CONFIGS, OF_TOKENIZERS, VOCABULARIES, read_part
from registry.folders.weights import STEMS, Weights, find

KEPT = 256  # folders
NO_FILES: Mapping[str, Path] = MappingProxyType({})

Stamp = tuple[tuple[str | int, ...], ...]  # path, mtime and ctime in ns, bytes, inode of all that was looked at
Files = Mapping[str, Path]  # by part, those that take the place of its weights in the folder
Key = tuple[Path, tuple[tuple[str, Path], ...]]
_kept: OrderedDict[Key, tuple[Stamp, ModelFolder | FolderError]] = OrderedDict()
_lock = Lock()


def read(path: Path, files: Files = NO_FILES) -> ModelFolder:
    """Return the folder at `path`; raise `FolderError` with the first problem.

    `files` take the place of the weights of some parts.
    """
    key = _key(path, files)
    with _lock:
        known = _kept.get(key)
    if known is None or _stamp(key, known[1]) != known[0]:
        known = _read_stable(key)
        with _lock:
            _kept[key] = known
            _kept.move_to_end(key)
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
    if isinstance(known[1], FolderError):
        raise known[1].again()
    return known[1]


def weights_in(folder: Path, part: str, library: str = "diffusers") -> Weights:
    """Return the weights in one part's folder; raise `FolderError` as `read` does."""
    return find(folder, part, STEMS[library], names(folder, part))[0]


def missing(path: Path, files: Files = NO_FILES) -> str | None:
    """Return the missing part of a folder, in words without paths, or None."""
    if not os.path.isfile(path / INDEX):
        return None  # another layout
    try:
        read(path, files)
    except FolderError as error:
        return error.reason if error.missing else None
    return None


def changed_at(path: Path, files: Files = NO_FILES) -> float:
    """Return the last change of a folder's relevant files (seconds since 1970), or 0."""
    # the ctime counts: copies keep the mtime
    key = _key(path, files)
    with _lock:
        known = _kept.get(key)
    times = [0.0]
    for each in _relevant(key, known[1] if known else None):
        with suppress(OSError):
            times += [each.stat().st_ctime, each.lstat().st_ctime]  # that of a link which was switched, too
    return max(times)


def stamp(path: Path, files: Files = NO_FILES) -> Stamp | None:
    """Return the state of each file that `read` reads; None if it would raise."""
    key = _key(path, files)
    try:
        found = read(path, files)
    except FolderError:
        return None
    inside = {str(key[0]), *(str(key[0] / name) for name in CLASSES)}  # folders change with files that nobody reads
    return tuple(each for each in _stamp(key, found) if each[0] not in inside)


def _key(path: Path, files: Files) -> Key:
    return path.absolute(), tuple(sorted((part, file.absolute()) for part, file in files.items()))


def _read_stable(key: Key) -> tuple[Stamp, ModelFolder | FolderError]:
    before = _stamp(key, None)
    try:
        found: ModelFolder | FolderError = _read(key[0], dict(key[1]))
    except FolderError as error:
        found = error.again()
    stamp = _stamp(key, found)
    # a folder that changed during the read is read again the next time
    return (stamp if set(before) <= set(stamp) else (), found)


def _stamp(key: Key, found: ModelFolder | FolderError | None) -> Stamp:
    stamp: list[tuple[str | int, ...]] = []
    for each in _relevant(key, found):
        try:
            status = each.stat()
        except OSError:
            stamp.append((str(each),))
        else:
            stamp.append((str(each), status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
    return tuple(stamp)


def _relevant(key: Key, found: ModelFolder | FolderError | None) -> Iterator[Path]:
    path, files = key
    yield path
    yield from (file for _, file in files)
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


def _read(path: Path, files: Files) -> ModelFolder:
    if not os.path.exists(path / INDEX):
        raise foreign_layouts.explained(path)
    index = read_json(path / INDEX, INDEX)
    pipeline = index.get("_class_name")
    if pipeline not in (TEXT_TO_VIDEO, IMAGE_TO_VIDEO):
        message = f"{INDEX} must be of a {TEXT_TO_VIDEO} or a {IMAGE_TO_VIDEO}, got {str(pipeline)[:100]}"
        raise FolderError(message, path / INDEX)
    ratio = _ratio(path, index)
    found = ((name, read_part(path, name, index.get(name), files.get(name))) for name in CLASSES)
    parts = {name: part for name, part in found if part is not None}
    folder = ModelFolder(path, pipeline, parts, ratio, index.get("expand_timesteps") is True)
    require_agreement(folder)
    return folder


def _ratio(path: Path, index: dict[str, Any]) -> float | None:
    ratio, second = index.get("boundary_ratio"), index.get("transformer_2")
    if ratio is None and second in (None, [None, None]):
        return None
    if second in (None, [None, None]):
        message = f"{INDEX} has boundary_ratio {str(ratio)[:100]}, so it needs a transformer_2; none is listed"
        raise FolderError(message, path / INDEX)
    if ratio is None:
        message = f"{INDEX} lists a transformer_2 and no boundary_ratio, so nothing says when it takes over"
        raise FolderError(message, path / INDEX)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
        raise FolderError(f"boundary_ratio of {INDEX} must be from 0 to 1, got {str(ratio)[:100]}", path / INDEX)
    return float(ratio)
