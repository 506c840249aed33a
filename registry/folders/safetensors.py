"""The header of a safetensors file: each tensor's dtype, shape and bytes; reads no tensor.

The format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from registry.folders.errors import FolderError
from registry.folders.files import head_of, regular_size

MAX_HEADER_BYTES = 32 * 2**20  # those of 14B models have 0.2 MB
LENGTH_BYTES = 8
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "BOOL": 1}
QUANTISED = {"I8": "int8", "U8": "8 or 4 bits (uint8)", "F8_E4M3": "fp8", "F8_E5M2": "fp8"}


class Tensor(NamedTuple):
    """One tensor: `dtype` in the format's own word (`BF16`); `length` bytes at `offset` of `file`."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def read_header(path: Path, part: str) -> dict[str, Tensor]:
    """Return the tensors of a file of `part` by their names.

    Raises `FolderError` for any other kind of file, one that is cut short or longer than its header says, tensors
    that overlap, and dtypes that no backend of Wan takes.
    """
    what = f"{path.name} of {part}"
    head, size = head_of(path, what), regular_size(path, what)
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    if len(head) <= LENGTH_BYTES or head[LENGTH_BYTES] != ord("{") or length > MAX_HEADER_BYTES:
        raise FolderError(f"{what} must be a safetensors file, it is none", path)
    begin = LENGTH_BYTES + length
    if begin > size:
        raise _cut(what, path, size, begin)
    header = _parsed(path, what, length)
    tensors: dict[str, Tensor] = {}
    for name, entry in header.items():
        tensors[name] = _tensor(path, what, name, entry, begin)
    _require_contiguous(path, what, tensors, begin, size)
    return tensors


def _parsed(path: Path, what: str, length: int) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            file.seek(LENGTH_BYTES)
            header = json.loads(file.read(length))
    except OSError as error:
        raise FolderError(f"{what} cannot be read: {error.strerror}", path) from error
    except (ValueError, RecursionError) as error:
        raise FolderError(f"{what} must be a safetensors file, its header is no JSON", path) from error
    if not isinstance(header, dict):
        raise FolderError(f"{what} must be a safetensors file, its header is no JSON object", path)
    header.pop("__metadata__", None)
    return header


def _tensor(path: Path, what: str, name: str, entry: Any, begin: int) -> Tensor:
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, start, end]
        if any(type(number) is not int or number < 0 for number in numbers) or type(dtype) is not str:
            raise ValueError
    except (TypeError, KeyError, ValueError):
        raise FolderError(f"{what} has a broken header, at {name[:100]!r}", path) from None
    if dtype not in ITEM_BYTES:
        raise _unreadable(path, what, name, dtype)
    if end - start != ITEM_BYTES[dtype] * math.prod(shape):
        said = f"{end - start:,} bytes for {dtype} {shape}"
        raise FolderError(f"{what} has a broken header: {name[:100]!r} has {said}", path)
    return Tensor(path, dtype, tuple(shape), begin + start, end - start)


def _unreadable(path: Path, what: str, name: str, dtype: str) -> FolderError:
    known = QUANTISED.get(dtype, "a dtype that is not read")
    return FolderError(
        f"{what} holds quantised weights: {name[:100]!r} is {dtype[:20]} ({known}), and bf16, fp16 and fp32 are read; "
        "bring the model in bf16",
        path,
    )


def _require_contiguous(path: Path, what: str, tensors: dict[str, Tensor], begin: int, size: int) -> None:
    """Raise where tensors overlap, leave gaps, or end elsewhere than the file."""
    position, before = begin, "its header"
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].offset):
        if tensor.offset != position:
            how = "overlaps" if tensor.offset < position else "lies apart from"
            raise FolderError(f"{what} has a broken header: {name[:100]!r} {how} {before[:100]!r}", path)
        position, before = position + tensor.length, name
    if position > size:
        raise _cut(what, path, size, position)
    if position < size:
        raise FolderError(f"{what} is longer than its header says: {size:,} bytes, not {position:,}", path)


def _cut(what: str, path: Path, size: int, needed: int) -> FolderError:
    said = f"{what} is cut short: it has {size:,} of {needed:,} bytes; fetch it again"
    return FolderError(said, path, missing=True)
