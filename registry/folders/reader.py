"""The reader of model folders, with a cache that follows their files."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from registry.errors import FolderError
from registry.folders import foreign_layouts
from registry.folders.agreement import require_agreement
from registry.folders.files import names, read_json
from registry.folders.model import CLASSES, IMAGE_TO_VIDEO, INDEX, TEXT_TO_VIDEO, ModelFolder
from registry.folders.parts import CONFIGS, OF_TOKENIZERS, VOCABULARIES, read_part
from registry.folders.weights import STEMS, Weights, find

KEPT = 256  # folders

Stamp = tuple[tuple[str | int, ...], ...]  # path, mtime and ctime in ns, bytes, inode of all that was looked at
_kept: OrderedDict[Path, tuple[Stamp, ModelFolder | FolderError]] = OrderedDict()
_lock = Lock()


def read(path: Path) -> ModelFolder:
    """Return the folder at `path`; raise `FolderError` with the first problem."""
    path = path.absolute()
    with _lock:
        known = _kept.get(path)
    if known is None or _stamp(path, known[1]) != known[0]:
        known = _read_stable(path)
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
    """Return the missing part of a folder, in words without paths, or None."""
    if not os.path.isfile(path / INDEX):
        return None  # another layout
    try:
        read(path)
    except FolderError as error:
        return error.reason if error.missing else None
    return None


def changed_at(path: Path) -> float:
    """Return the last change of a folder's relevant files (seconds since 1970), or 0."""
    # the ctime counts: copies keep the mtime
    with _lock:
        known = _kept.get(path.absolute())
    times = [0.0]
    for each in _relevant(path, known[1] if known else None):
        with suppress(OSError):
            times += [each.stat().st_ctime, each.lstat().st_ctime]  # that of a link which was switched, too
    return max(times)


def _read_stable(path: Path) -> tuple[Stamp, ModelFolder | FolderError]:
    before = _stamp(path, None)
    try:
        found: ModelFolder | FolderError = _read(path)
    except FolderError as error:
        found = error.again()
    stamp = _stamp(path, found)
    # a folder that changed during the read is read again the next time
    return (stamp if set(before) <= set(stamp) else (), found)


def _stamp(path: Path, found: ModelFolder | FolderError | None) -> Stamp:
    stamp: list[tuple[str | int, ...]] = []
    for each in _relevant(path, found):
        try:
            status = each.stat()
        except OSError:
            stamp.append((str(each),))
        else:
            stamp.append((str(each), status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
    return tuple(stamp)


def _relevant(path: Path, found: ModelFolder | FolderError | None) -> Iterator[Path]:
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
        raise foreign_layouts.explained(path)
    index = read_json(path / INDEX, INDEX)
    pipeline = index.get("_class_name")
    if pipeline not in (TEXT_TO_VIDEO, IMAGE_TO_VIDEO):
        message = f"{INDEX} must be of a {TEXT_TO_VIDEO} or a {IMAGE_TO_VIDEO}, got {str(pipeline)[:100]}"
        raise FolderError(message, path / INDEX)
    ratio = _ratio(path, index)
    parts = {name: part for name in CLASSES if (part := read_part(path, name, index.get(name))) is not None}
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
