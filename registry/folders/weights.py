"""Which files of a part's folder are its weights, by the names that diffusers and transformers write."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.folders.errors import FolderError
from registry.folders.files import PICKLES, read_json
from registry.folders.safetensors import Tensor, read_header

SUFFIX = ".safetensors"
STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
SHARD = re.compile(r"-\d{5}-of-\d{5}")
NAME = re.compile(rf"[\w.+=@ -]{{1,240}}{re.escape(SUFFIX)}")  # no folder, nothing that a file system chokes on
SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Weights:
    """A part's weights: the files that are read, in order, and each tensor by its name."""

    files: tuple[Path, ...]
    tensors: Mapping[str, Tensor]


def find(folder: Path, part: str, stem: str, names: Collection[str]) -> Weights:
    """Return the weights among the `names` in `folder`; what has another name is not read.

    An index of shards comes first, then the whole file, then the only variant (`STEM.fp16.safetensors`). Raises
    `FolderError` where there are none, where several variants could be meant, and for files that are not whole.
    """
    if (index := f"{stem}{SUFFIX}.index.json") in names:
        return _sharded(folder, part, index)
    if (whole := f"{stem}{SUFFIX}") in names:
        return _whole(folder, part, whole)
    variants = _variants(stem, names)
    if len(variants) > 1 and not _same([folder / name for name in variants.values()]):
        raise FolderError(
            f"{part} has no {whole}, and {' and '.join(sorted(variants.values()))} could each be meant: keep one",
            folder,
        )
    for name in variants.values():
        return _sharded(folder, part, name) if name.endswith(".json") else _whole(folder, part, name)
    raise _none(folder, part, whole, names)


def _variants(stem: str, names: Iterable[str]) -> dict[str, str]:
    """Return the file that stands for each variant: its index, else the whole file."""
    whole = re.compile(rf"{re.escape(stem)}\.([^.]+){re.escape(SUFFIX)}")
    index = re.compile(rf"{re.escape(stem)}{re.escape(SUFFIX)}\.index\.([^.]+)\.json")
    found: dict[str, str] = {}
    for name in sorted(names):
        match = index.fullmatch(name) or whole.fullmatch(name)
        if match and not SHARD.search(match[1]) and (match[1] not in found or name.endswith(".json")):
            found[match[1]] = name
    return found


def _same(paths: Iterable[Path]) -> bool:
    """Say whether all of these are links to one file."""
    try:
        return len({path.resolve(strict=True) for path in paths}) == 1
    except OSError:
        return False


def _whole(folder: Path, part: str, name: str) -> Weights:
    return Weights((folder / name,), read_header(folder / name, part))


def _sharded(folder: Path, part: str, index: str) -> Weights:
    """Return the tensors of the shards that an index names, each from the shard that it says."""
    listed = read_json(folder / index, f"{index} of {part}").get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise FolderError(f"{index} of {part} must have a weight_map of tensors to files", folder / index)
    for shard in listed.values():
        if not isinstance(shard, str) or not NAME.fullmatch(shard):
            said = f"{index} of {part} must name {SUFFIX} files beside it, got {str(shard)[:100]!r}"
            raise FolderError(said, folder / index)
    shards = {shard: read_header(folder / shard, part) for shard in sorted(set(listed.values()))}
    tensors = {}
    for name, shard in listed.items():
        if name not in shards[shard]:
            said = f"{shard} of {part} lacks the tensor {name[:100]!r}, for which {index} names it"
            raise FolderError(said, folder / shard)
        tensors[name] = shards[shard][name]
    return Weights(tuple(folder / shard for shard in shards), tensors)


def _none(folder: Path, part: str, whole: str, names: Collection[str]) -> FolderError:
    """Return what to say of a folder without weights, by what is there instead."""
    needed = f"{part} needs {whole}, or shards and their index"
    others = sorted(name for name in names if name.endswith(SUFFIX))
    if shards := [name for name in others if SHARD.search(name)]:
        return FolderError(f"{needed}, got {_few(shards)} without the index", folder, missing=True)
    if others:
        return FolderError(f"{needed}, got {_few(others)}, a name that is not read", folder)
    if gguf := sorted(name for name in names if name.endswith(".gguf")):
        return FolderError(f"{needed}, got {_few(gguf)}: GGUF is not read, bring the part in bf16", folder)
    if pickles := sorted(name for name in names if name.endswith(PICKLES)):
        got = f"got {_few(pickles)}: pickles can run code and are not read, bring safetensors"
        return FolderError(f"{needed}, {got}", folder)
    return FolderError(f"{needed}, got none", folder, missing=True)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
