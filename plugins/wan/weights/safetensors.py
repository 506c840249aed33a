"""Safetensors files, read and written one tensor at a time to save memory."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from registry.folders import Tensor, Weights
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
TensorTypes = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]  # dtype and shape by name
ALIGNMENT = 64  # of a file's first tensor, in bytes


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: `offset` and `length` are bytes of `file`."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    length: int

    @classmethod
    def of(cls, tensor: Tensor) -> "StoredTensor":
        return cls(tensor.file, DTYPES[tensor.dtype], tensor.shape, tensor.offset, tensor.length)

    def read(self) -> torch.Tensor:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            data = bytearray(self.length)
            if file.readinto(data) != self.length:
                raise LoadFailed(f"{self.file.name} is cut short: a tensor at byte {self.offset} is not whole")
        return torch.frombuffer(data, dtype=self.dtype).view(self.shape)


def stored_in(weights: Weights) -> dict[str, StoredTensor]:
    return {name: StoredTensor.of(tensor) for name, tensor in weights.read().items()}


def dtype_in(name: str, tensor: StoredTensor, dtype: torch.dtype, kept_in_fp32: Collection[str]) -> torch.dtype:
    """Return a tensor's dtype in a module of `dtype`; `kept_in_fp32` names its exceptions."""
    if not tensor.dtype.is_floating_point:
        return tensor.dtype
    return torch.float32 if any(part in kept_in_fp32 for part in name.split(".")) else dtype


def sizes_of(tensors: Mapping[str, StoredTensor], dtype: torch.dtype, kept_in_fp32: Collection[str]) -> dict[str, int]:
    """Return each tensor's bytes in a module of `dtype`; `kept_in_fp32` names its exceptions."""
    return {
        name: tensor.length // tensor.dtype.itemsize * dtype_in(name, tensor, dtype, kept_in_fp32).itemsize
        for name, tensor in tensors.items()
    }


def layout(path: Path, tensors: TensorTypes) -> tuple[bytes, dict[str, StoredTensor]]:
    """Return the header of a file of `tensors`, and each tensor's position."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    lengths = {name: dtype.itemsize * torch.Size(shape).numel() for name, (dtype, shape) in tensors.items()}
    begin = 0
    for name, (dtype, shape) in tensors.items():
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, begin + lengths[name]]}
        begin += lengths[name]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    start = 8 + len(text)
    stored = {}
    for name, (dtype, shape) in tensors.items():
        stored[name] = StoredTensor(path, dtype, shape, start, lengths[name])
        start += lengths[name]
    return len(text).to_bytes(8, "little") + text, stored


def write(path: Path, header: bytes, tensors: Iterable[torch.Tensor], written: Callable[[int], None]) -> None:
    """Write a file with the `header` of `layout`; call `written(bytes)` after each tensor."""
    with path.open("wb") as file:
        file.write(header)
        for tensor in tensors:
            data = tensor.contiguous().view(-1).view(torch.uint8).numpy()
            file.write(data)  # type: ignore[arg-type]  # an array is a buffer
            written(data.nbytes)
