"""The weight files of a part, by the names that diffusers and transformers write."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.errors import FolderError
from registry.folders.files import MAX_INDEX_BYTES, PICKLES, read_json, stamp
from registry.folders.safetensors import WITH_CODES, Header, Tensor, read_header
from registry.folders.scales import attached, is_aside

SUFFIX = ".safetensors"
STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
SHARD = re.compile(r"-\d{5}-of-\d{5}")
NAME = re.compile(rf"[\w.+=@ -]{{1,240}}{re.escape(SUFFIX)}")  # no folder, nothing that a file system chokes on
GGUF_ADVICE = "GGUF is not read here, name it under `parts` of the model's entry"
SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Weights:
    """The weight files of a part, in order, and the index of its shards.

    `read` reads the tensors' headers each time: kept, they would fill the memory of processes without engines.
    """

    part: str
    files: tuple[Path, ...]
    index: Path | None = None

    @property
    def stamps(self) -> tuple[tuple[int, ...], ...]:
        """Numbers that change when a file is changed or replaced; raises `OSError`."""
        return tuple(map(stamp, self.files))

    def read(self) -> dict[str, Tensor]:
        """Return the tensors by name, with their scales; raise `FolderError` for incomplete files."""
        if self.index is None:
            return _whole(self.files[0], self.part)
        return _sharded(self.index, self.part)[0]


Shapes = Mapping[str, tuple[int, ...]]


def find(folder: Path, part: str, stem: str, names: Collection[str]) -> tuple[Weights, Shapes]:
    """Return the weights among `names` in `folder`, and their tensors' shapes.

    The index of shards is preferred, then the whole file, then a single variant (`STEM.fp16.safetensors`). Raises
    `FolderError` for missing weights, ambiguous variants and incomplete files.
    """
    if (index := f"{stem}{SUFFIX}.index.json") in names:
        return _with_index(folder / index, part)
    if (whole := f"{stem}{SUFFIX}") in names:
        return _one(folder / whole, part)
    variants = _variants(stem, names)
    if len(variants) > 1 and not _same([folder / name for name in variants.values()]):
        either = " and ".join(sorted(variants.values()))
        raise FolderError(f"{part} has no {whole}, and {either} could each be meant: keep one", folder)
    for name in variants.values():
        return _with_index(folder / name, part) if name.endswith(".json") else _one(folder / name, part)
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
    try:
        return len({path.resolve(strict=True) for path in paths}) == 1
    except (OSError, RuntimeError):  # the latter for links in a circle
        return False


def _one(path: Path, part: str) -> tuple[Weights, Shapes]:
    return Weights(part, (path,)), shapes_of(_whole(path, part))


def _with_index(index: Path, part: str) -> tuple[Weights, Shapes]:
    tensors, files = _sharded(index, part)
    return Weights(part, files, index), shapes_of(tensors)


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _whole(path: Path, part: str) -> dict[str, Tensor]:
    header = read_header(path, part, WITH_CODES)
    return attached(header.tensors(), part, [header])


def _sharded(index: Path, part: str) -> tuple[dict[str, Tensor], tuple[Path, ...]]:
    """Return the tensors of an index, and its shards."""
    shards, listed = _shards(index, part)
    tensors = {shard: header.tensors() for shard, header in shards.items()}
    found = {name: tensors[shard][name] for name, shard in listed.items()}
    for each in tensors.values():  # an index without the scales would turn codes into numbers
        found |= {name: tensor for name, tensor in each.items() if is_aside(name) and name not in found}
    return attached(found, part, shards.values()), tuple(header.file for header in shards.values())


def _shards(index: Path, part: str) -> tuple[dict[str, Header], dict[str, str]]:
    """Return the shards of an index, and the shard of each tensor."""
    listed = read_json(index, f"{index.name} of {part}", MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise FolderError(f"{index.name} of {part} must have a weight_map of tensors to files", index)
    strange = [each for each in listed.values() if not isinstance(each, str)]
    strange += [] if strange else [each for each in set(listed.values()) if not NAME.fullmatch(each)]
    if strange:
        message = f"{index.name} of {part} must name {SUFFIX} files beside it, got {str(strange[0])[:100]!r}"
        raise FolderError(message, index)
    shards = {shard: read_header(index.with_name(shard), part, WITH_CODES) for shard in sorted(set(listed.values()))}
    for name, shard in listed.items():
        if name not in shards[shard].entries:
            message = f"{shard} of {part} lacks the tensor {name[:100]!r}, for which {index.name} names it"
            raise FolderError(message, index.with_name(shard))
    return shards, listed


def _none(folder: Path, part: str, whole: str, names: Collection[str]) -> FolderError:
    needed = f"{part} needs {whole}, or shards and their index"
    others = sorted(name for name in names if name.endswith(SUFFIX))
    if shards := [name for name in others if SHARD.search(name)]:
        return FolderError(f"{needed}, got {_few(shards)} without the index", folder, missing=True)
    if others:
        return FolderError(f"{needed}, got {_few(others)}, a name that is not read", folder)
    if gguf := sorted(name for name in names if name.endswith(".gguf")):
        return FolderError(f"{needed}, got {_few(gguf)}: {GGUF_ADVICE}", folder)
    if pickles := sorted(name for name in names if name.endswith(PICKLES)):
        got = f"got {_few(pickles)}: pickles can run code and are not read, bring safetensors"
        return FolderError(f"{needed}, {got}", folder)
    return FolderError(f"{needed}, got none", folder, missing=True)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
