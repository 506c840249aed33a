"""Safetensors files, read and written one tensor at a time to save memory."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from plugins.wan.weights.quantised.codes import DTYPES as CODES
from plugins.wan.weights.quantised.codes import numbers as of_blocks
from registry.folders import Tensor, Weights
from registry.folders.dtypes import BLOCKS, is_quantised
from router import LoadFailed

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
TensorTypes = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]  # dtype and shape by name
ALIGNMENT = 64  # of a file's first tensor, in bytes


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: `offset` and `length` are bytes of `file`.

    `kind` is its format by the registry's name; one of GGUF's blocks has the `dtype` of its bytes. Its numbers are
    those of the file times `scale`.
    """

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    length: int
    kind: str
    scale: "StoredTensor | None" = None

    @classmethod
    def of(cls, tensor: Tensor) -> "StoredTensor":
        dtype = torch.uint8 if tensor.dtype in BLOCKS else DTYPES[tensor.dtype]
        scale = None if tensor.scale is None else cls.of(tensor.scale)
        return cls(tensor.file, dtype, tensor.shape, tensor.offset, tensor.length, tensor.dtype, scale)

    @property
    def is_plain(self) -> bool:
        """Say whether the file has its numbers as they are."""
        return self.scale is None and not is_quantised(self.kind)

    def has_codes(self, form: str) -> bool:
        """Say whether the file has codes of a format of the device."""
        return self.kind == form or (not self.is_plain and self.dtype is CODES.get(form))

    def read(self) -> torch.Tensor:
        """Return its numbers; those in codes are in fp32."""
        raw = self.bytes()
        if self.is_plain:
            return raw.view(self.dtype).view(self.shape)
        return self.numbers(raw, self.factors()).view(self.shape)

    def bytes(self) -> torch.Tensor:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            data = bytearray(self.length)
            if file.readinto(data) != self.length:
                raise LoadFailed(f"{self.file.name} is cut short: a tensor at byte {self.offset} is not whole")
        return torch.frombuffer(data, dtype=torch.uint8)

    def numbers(self, raw: torch.Tensor, factors: torch.Tensor | None) -> torch.Tensor:
        """Return the numbers in the bytes of some rows, `(rows, ...)`.

        `factors` are the scales of these rows, `(rows, 1)`. Numbers of codes are in fp32.
        """
        rows = raw.view(-1, self.length // max(1, self.rows))
        if self.kind in BLOCKS:
            return of_blocks(rows, self.kind)
        values = rows.view(self.dtype)
        if self.is_plain:
            return values
        return values.float() if factors is None else values.float().mul_(factors.to(raw.device))

    @property
    def rows(self) -> int:
        if self.kind in BLOCKS and len(self.shape) == 1:  # blocks do not end within a row
            return 1
        return self.shape[0] if self.shape else 1

    def factors(self) -> torch.Tensor | None:
        """Return the scale of each row, `(rows, 1)` in fp32; None for numbers without.

        Raises `LoadFailed` for one that is not finite.
        """
        if self.scale is None:
            return None
        scale = self.scale.read().float().reshape(-1, 1)
        if not scale.isfinite().all():
            raise LoadFailed(f"{self.file.name} must hold finite scales; those at byte {self.scale.offset} are not")
        return scale.expand(self.rows, 1).contiguous()


def stored_in(weights: Weights) -> dict[str, StoredTensor]:
    return {name: StoredTensor.of(tensor) for name, tensor in weights.read().items()}


def dtype_in(name: str, tensor: StoredTensor, dtype: torch.dtype, kept_in_fp32: Collection[str]) -> torch.dtype:
    """Return a tensor's dtype in a module of `dtype`; `kept_in_fp32` names its exceptions."""
    if tensor.is_plain and not tensor.dtype.is_floating_point:
        return tensor.dtype
    return torch.float32 if any(part in kept_in_fp32 for part in name.split(".")) else dtype


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
        stored[name] = StoredTensor(path, dtype, shape, start, lengths[name], NAMES[dtype])
        start += lengths[name]
    return len(text).to_bytes(8, "little") + text, stored


def write(path: Path, header: bytes, tensors: Iterable[torch.Tensor], written: Callable[[int], None]) -> None:
    """Write `tensors` after their header; `written` hears of the bytes so far."""
    done = 0
    with path.open("wb") as file:
        file.write(header)
        for tensor in tensors:
            data = tensor.contiguous().view(-1).view(torch.uint8).numpy()
            file.write(data)  # type: ignore[arg-type]  # an array is a buffer
            done += data.nbytes
            written(done)
