"""The header of a safetensors file (https://github.com/huggingface/safetensors#format)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from registry.errors import FolderError
from registry.folders.dtypes import CODES, ITEM_BYTES
from registry.folders.files import TooManyValues, beginning, parse

MAX_HEADER_BYTES = 8 * 2**20  # those of 14B models have 0.2 MB
MOST_TENSORS = 20_000  # those of 14B models have 1,100, with scales and notes 4,000
MAX_NUMBER, MAX_SIDES = 2**62, 16  # of a shape
USUAL_BYTES = 256 * 2**10  # hold most headers, so that a file is read once
LENGTH_BYTES = 8
PLAIN = ("F64", "F32", "F16", "BF16", "I64", "I32", "BOOL")
WITH_CODES = (*PLAIN, *CODES, "U8")  # bytes describe codes
QUANTISED = {"I8": "int8", "U8": "8 or 4 bits (uint8)", "F8_E4M3": "fp8", "F8_E5M2": "fp8"}


class Tensor(NamedTuple):
    """One tensor: `length` bytes at `offset` of `file`, in a format of `dtypes`.

    Its numbers are those of the file times `scale`: one factor, or one for each row.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int
    scale: "Tensor | None" = None


@dataclass(frozen=True)
class Header:
    """A checked header: its `entries`, the offset of the tensors, and the writer's `metadata`."""

    file: Path
    entries: Mapping[str, Mapping[str, Any]]
    begin: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.entries[name]["shape"])

    def tensors(self) -> dict[str, Tensor]:
        found = {}
        for name, entry in self.entries.items():
            start, end = entry["data_offsets"]
            found[name] = Tensor(self.file, entry["dtype"], self.shape(name), self.begin + start, end - start)
        return found


def read_header(path: Path, part: str, dtypes: Collection[str] = PLAIN) -> Header:
    """Return the header of a file of `part`.

    Raises `FolderError` for other kinds of files, a length that differs from the header, overlapping tensors and
    other dtypes than `dtypes`.
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
        entries = parse(head[LENGTH_BYTES:begin])
        metadata = entries.pop("__metadata__", None)
        end = begin + _checked(path, what, entries, dtypes)
    except TooManyValues as error:
        raise FolderError(f"{what} has a header of {error}", path) from error
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
        raise FolderError(f"{what} must be a safetensors file, it has a broken header", path) from error
    if end > size:
        raise _cut(what, path, size, end)
    if end < size:
        raise FolderError(f"{what} is longer than its header says: {size:,} bytes, not {end:,}", path)
    return Header(path, entries, begin, metadata if isinstance(metadata, dict) else {})


def _checked(path: Path, what: str, entries: Mapping[str, Mapping[str, Any]], read: Collection[str]) -> int:
    """Return the bytes of all tensors; raise for entries that do not fit."""
    if len(entries) > MOST_TENSORS:
        raise TooManyValues(f"{len(entries):,} tensors, more than {MOST_TENSORS:,}")
    dtypes, shapes, spans = ([entry[key] for entry in entries.values()] for key in ("dtype", "shape", "data_offsets"))
    if set(map(type, dtypes)) - {str}:
        raise ValueError
    if unknown := [dtype for dtype in dtypes if dtype not in read]:
        name = next(name for name in entries if entries[name]["dtype"] == unknown[0])
        raise _unreadable(path, what, name, unknown[0], read)
    numbers = list(chain.from_iterable(chain(shapes, spans)))
    whole = not set(map(type, numbers)) - {int} and min(numbers, default=0) >= 0
    if not whole or max(numbers, default=0) > MAX_NUMBER or max(map(len, shapes), default=0) > MAX_SIDES:
        raise ValueError
    position = 0
    for (start, end), size in sorted(zip(map(tuple, spans), map(_bytes, dtypes, shapes), strict=True)):
        if end - start != size:
            raise ValueError
        if start != position:
            how = "overlap" if start < position else "leave gaps"
            raise FolderError(f"{what} must be a safetensors file, its tensors {how}", path)
        position = end
    return position


def _bytes(dtype: str, shape: list[int]) -> int:
    return ITEM_BYTES[dtype] * prod(shape)


def _unreadable(path: Path, what: str, name: str, dtype: str, read: Collection[str]) -> FolderError:
    got, known = dtype[:20], QUANTISED.get(dtype)
    if read is not PLAIN:
        needed = "bf16, fp16, fp32, fp8 (E4M3 and E5M2) and int8 are read"
        return FolderError(f"{what} holds {name[:100]!r} in {got}; {needed}", path)
    message = f"quantised weights: {name[:100]!r} is {got} ({known})" if known else got
    return FolderError(f"{what} holds {message}, and bf16, fp16 and fp32 are read; bring the model in bf16", path)


def _cut(what: str, path: Path, size: int, needed: int) -> FolderError:
    return FolderError(f"{what} is cut short: it has {size:,} of {needed:,} bytes; fetch it again", path, missing=True)
