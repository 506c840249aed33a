"""Safetensors files, read and written a tensor at a time: no model is ever in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from registry.folders import Weights
from router import LoadFailed

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
Kinds = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]  # a dtype and a shape for each name
ALIGNMENT = 64  # of a file's first tensor, in bytes


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: `offset` and `length` in bytes of `file`."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    length: int

    def read(self) -> torch.Tensor:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            data = bytearray(self.length)
            if file.readinto(data) != self.length:
                raise LoadFailed(f"{self.file.name} is cut short: a tensor at byte {self.offset} is not whole")
        return torch.frombuffer(data, dtype=self.dtype).view(self.shape)


def stored_in(weights: Weights) -> dict[str, StoredTensor]:
    """Return the tensors of a part's weights as torch knows them, by their names."""
    return {
        name: StoredTensor(tensor.file, DTYPES[tensor.dtype], tensor.shape, tensor.offset, tensor.length)
        for name, tensor in weights.read().items()
    }


def dtype_in(name: str, tensor: StoredTensor, dtype: torch.dtype, kept_in_fp32: Collection[str] = ()) -> torch.dtype:
    """Return what a tensor is in a module of `dtype`; modules of the names `kept_in_fp32` stay so."""
    if not tensor.dtype.is_floating_point:
        return tensor.dtype
    return torch.float32 if any(part in kept_in_fp32 for part in name.split(".")) else dtype


def sizes_of(
    tensors: Mapping[str, StoredTensor], dtype: torch.dtype, kept_in_fp32: Collection[str] = ()
) -> dict[str, int]:
    """Return the bytes of each tensor in a module of `dtype`; modules of the names `kept_in_fp32` stay so."""
    return {
        name: tensor.length // tensor.dtype.itemsize * dtype_in(name, tensor, dtype, kept_in_fp32).itemsize
        for name, tensor in tensors.items()
    }


def layout(path: Path, tensors: Kinds) -> tuple[bytes, dict[str, StoredTensor]]:
    """Return the header of a file of these tensors, and where each of them will lie."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    lengths = {name: dtype.itemsize * torch.Size(shape).numel() for name, (dtype, shape) in tensors.items()}
    begin = 0
    for name, (dtype, shape) in tensors.items():
        header[name] = {
            "dtype": NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [begin, begin + lengths[name]],
        }
        begin += lengths[name]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    start = 8 + len(text)
    placed = {}
    for name, (dtype, shape) in tensors.items():
        placed[name] = StoredTensor(path, dtype, shape, start, lengths[name])
        start += lengths[name]
    return len(text).to_bytes(8, "little") + text, placed


def write(path: Path, header: bytes, tensors: Iterable[torch.Tensor], written: Callable[[int], None]) -> None:
    """Write the file that `layout` described; `written(bytes)` hears of each tensor."""
    with path.open("wb") as file:
        file.write(header)
        for tensor in tensors:
            data = tensor.contiguous().view(-1).view(torch.uint8).numpy()
            file.write(data)  # type: ignore[arg-type]
            written(data.nbytes)
