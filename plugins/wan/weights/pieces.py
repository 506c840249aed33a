"""The pieces of stored weights, and what becomes of their bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, Protocol

import torch

from plugins.wan.weights.forms import Form
from plugins.wan.weights.quantised.codes import quantise
from plugins.wan.weights.safetensors import StoredTensor

PIECE_BYTES = {"cpu": 2 * 2**20, "cuda": 8 * 2**20}  # of a file, in one reader's buffer


class Change(Protocol):
    """A change of one weight, such as that of an adapter."""

    def of_rows(self, numbers: torch.Tensor, rows: range, total: int) -> torch.Tensor:
        """Return the changed `numbers` of some `rows` of the `total`, `(rows, ...)` in fp32."""


class Target(Protocol):
    """Where the bytes of a piece go."""

    @property
    def direct(self) -> torch.Tensor | None:
        """Memory of the host for the bytes as they are, or None."""

    def put(self, raw: torch.Tensor) -> int:
        """Write the numbers in the bytes `raw`; return the bytes written."""


@dataclass(frozen=True)
class Numbers:
    """A flat tensor for numbers of `dtype`."""

    dtype: torch.dtype
    tensor: torch.Tensor

    @property
    def direct(self) -> torch.Tensor | None:
        same = self.tensor.device.type == "cpu" and self.dtype is self.tensor.dtype
        return self.tensor.view(torch.uint8) if same else None

    def put(self, raw: torch.Tensor) -> int:
        values = raw.view(self.dtype)
        if values.dtype is not self.tensor.dtype:  # the GPU converts faster than the host
            values = values.to(self.tensor.device, non_blocking=True)
        self.tensor.copy_(values, non_blocking=True)
        return self.tensor.nbytes


@dataclass(frozen=True)
class Rows:
    """Some rows of a weight that is converted, changed or quantised on its way."""

    stored: StoredTensor
    form: Form
    tensors: tuple[torch.Tensor, ...]  # the result's rows, or their codes and scales
    rows: range
    factors: torch.Tensor | None
    change: Change | None

    @property
    def direct(self) -> None:
        return None

    def put(self, raw: torch.Tensor) -> int:
        device = self.tensors[0].device
        numbers = self.stored.numbers(raw.to(device, non_blocking=True), self.factors)
        if self.change is not None:
            numbers = self.change.of_rows(numbers, self.rows, self.stored.rows)
        results = (numbers,) if self.form.format is None else quantise(numbers, self.form.format)
        for tensor, result in zip(self.tensors, results, strict=True):
            tensor.copy_(result.view(tensor.shape), non_blocking=True)
        return sum(tensor.nbytes for tensor in self.tensors)


class Piece(NamedTuple):
    """`length` bytes at `offset` of an open file, and their target."""

    file: BinaryIO
    offset: int
    length: int
    target: Target


def pieces(
    file: BinaryIO, stored: StoredTensor, form: Form, tensors: tuple[torch.Tensor, ...], change: Change | None
) -> Iterator[Piece]:
    """Yield the pieces of a weight in `file` for the `tensors` of its form."""
    if change is None and form.format is None and stored.is_plain:
        yield from _pieces_of_numbers(file, stored, tensors[0])
        return
    factors = stored.factors()
    if change is None and form.format is not None and stored.has_codes(form.format):
        if len(tensors) > 1:
            tensors[1].copy_(torch.ones(1) if factors is None else factors)
        yield from _pieces_of_numbers(file, stored, tensors[0])
        return
    length = stored.length // max(1, stored.rows)
    step = max(1, PIECE_BYTES[tensors[0].device.type] // max(1, length))
    if factors is not None:
        factors = factors.to(tensors[0].device)
    for first in range(0, stored.rows, step):
        rows = range(first, min(first + step, stored.rows))
        span = slice(rows.start, rows.stop)
        some = tuple(tensor.view(stored.rows, -1)[span] for tensor in tensors)
        own = None if factors is None else factors[span]
        yield Piece(
            file, stored.offset + first * length, len(rows) * length, Rows(stored, form, some, rows, own, change)
        )


def _pieces_of_numbers(file: BinaryIO, stored: StoredTensor, target: torch.Tensor) -> Iterator[Piece]:
    flat = target.view(-1)
    size = stored.dtype.itemsize
    step = PIECE_BYTES[target.device.type] // size
    for first in range(0, flat.numel(), step):
        part = flat[first : first + step]
        yield Piece(file, stored.offset + first * size, part.numel() * size, Numbers(stored.dtype, part))
