"""The header of a safetensors file: each tensor's dtype, shape and bytes; reads no tensor.

The format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from math import prod
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from registry.folders.errors import FolderError
from registry.folders.files import beginning

MAX_HEADER_BYTES = 32 * 2**20  # those of 14B models have 0.2 MB
USUAL_BYTES = 256 * 2**10  # hold most headers, so that a file is read once
LENGTH_BYTES = 8
SPAN = attrgetter("offset", "length")
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
    head, size = beginning(path, what, USUAL_BYTES)
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    if len(head) <= LENGTH_BYTES or head[LENGTH_BYTES] != ord("{") or length > MAX_HEADER_BYTES:
        raise FolderError(f"{what} must be a safetensors file, it is none", path)
    begin = LENGTH_BYTES + length
    if begin > size:
        raise _cut(what, path, size, begin)
    if begin > len(head):
        head, _ = beginning(path, what, begin)
    try:
        header = json.loads(head[LENGTH_BYTES:begin])
        header.pop("__metadata__", None)
        _require_numbers(header.values())
        tensors = {name: _tensor(path, what, name, entry, begin) for name, entry in header.items()}
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
        raise FolderError(f"{what} must be a safetensors file, it has a broken header", path) from error
    _require_contiguous(path, what, tensors, begin, size)
    return tensors


def _require_numbers(entries: Iterable[dict[str, Any]]) -> None:
    """Raise unless every side and offset is a whole number from 0; all at once, as there may be thousands."""
    numbers = list(chain.from_iterable(chain.from_iterable((each["shape"], each["data_offsets"]) for each in entries)))
    if set(map(type, numbers)) - {int} or min(numbers, default=0) < 0:
        raise ValueError


def _tensor(path: Path, what: str, name: str, entry: dict[str, Any], begin: int) -> Tensor:
    """Return one tensor of a header; raise what a header that is no such thing raises."""
    dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in ITEM_BYTES:
        raise _unreadable(path, what, name, str(dtype))
    if end - start != ITEM_BYTES[dtype] * prod(shape):
        raise ValueError(name)
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
    position = begin
    for offset, length in sorted(map(SPAN, tensors.values())):
        if offset != position:
            how = "overlap" if offset < position else "leave gaps"
            raise FolderError(f"{what} must be a safetensors file, its tensors {how}", path)
        position += length
    if position > size:
        raise _cut(what, path, size, position)
    if position < size:
        raise FolderError(f"{what} is longer than its header says: {size:,} bytes, not {position:,}", path)


def _cut(what: str, path: Path, size: int, needed: int) -> FolderError:
    said = f"{what} is cut short: it has {size:,} of {needed:,} bytes; fetch it again"
    return FolderError(said, path, missing=True)
