"""Safetensors and GGUF files byte by byte, right and wrong, without torch."""

import json
import struct
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, NamedTuple

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}  # others have one


class Stored(NamedTuple):
    """A tensor to write; zeros where `data` is empty."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes = b""

    def content(self) -> bytes:
        return self.data or bytes(BYTES.get(self.dtype, 1) * prod(self.shape))


def safetensors(tensors: Mapping[str, Stored], metadata: Mapping[str, str] | None = None) -> bytes:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    data = b""
    for name, tensor in tensors.items():
        begin, data = len(data), data + tensor.content()
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, len(data)]}
    return with_header(json.dumps(header).encode(), data)


def with_header(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


# GGUF's kinds of values
UINT32, INT32, STRING, ARRAY, UINT64 = 4, 5, 8, 9, 10


def text(value: str | bytes, length: int | None = None) -> bytes:
    """Return a text of GGUF; `length` is what it says instead of its own."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data) if length is None else length) + data


def value(key: str, kind: int, data: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + data


def array(kind: int, count: int, data: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + data


def tensor(name: str, sides: Iterable[int] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    """Return the entry of a tensor; `sides` begin with the fastest."""
    sides = tuple(sides)
    return text(name) + struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, kind, offset)


def gguf(
    values: Iterable[bytes] = (),
    tensors: Iterable[bytes] = (),
    data: bytes = b"",
    *,
    version: bytes = b"\3\0\0\0",
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
) -> bytes:
    """Return a file; `counts` are the tensors and values that its header claims."""
    values, tensors = tuple(values), tuple(tensors)
    said = (len(tensors), len(values)) if counts is None else counts
    head = b"GGUF" + version + struct.pack("<QQ", *said) + b"".join((*values, *tensors))
    return head + bytes(-len(head) % alignment) + data
