"""Tensors from files to a device: parallel reads, with only pieces in host memory."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, Protocol

import torch

from plugins.wan.weights.forms import Form
from plugins.wan.weights.host_memory import pinned_like
from plugins.wan.weights.quantised.codes import quantise
from plugins.wan.weights.safetensors import StoredTensor
from router import LoadFailed

READERS = 8  # one copies some GB/s out of the page cache, a GPU's bus takes 50
PIECE_BYTES = {"cpu": 2 * 2**20, "cuda": 8 * 2**20}  # of a file, in one reader's buffer
NO_CHANGES: Mapping[str, "Change"] = MappingProxyType({})


class Change(Protocol):
    """A change of one weight, such as that of an adapter."""

    def of_rows(self, numbers: torch.Tensor, rows: range, total: int) -> torch.Tensor:
        """Return the changed `numbers` of some `rows` of the `total`, `(rows, ...)` in fp32."""


class Target(Protocol):
    """Where the bytes of a piece go."""

    @property
    def direct(self) -> torch.Tensor | None:
        """The target's own memory, if it is on the host and takes the bytes as they are."""

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


class Lane:
    """One reader's buffer in host memory; for a GPU, page-locked and with a stream."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._buffer = self._memory(PIECE_BYTES[device.type])
        self._stream = torch.cuda.Stream(device) if self._is_cuda else None

    def carry(self, piece: Piece) -> int:
        if (direct := piece.target.direct) is not None:
            _fill(piece, direct)
            return direct.nbytes
        if piece.length > len(self._buffer):  # a long row
            self._buffer = self._memory(piece.length)
        raw = self._buffer[: piece.length]
        _fill(piece, raw)
        if self._stream is None:
            return piece.target.put(raw)
        with torch.cuda.stream(self._stream):
            written = piece.target.put(raw)
        self._stream.synchronize()
        return written

    def _memory(self, size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8, pin_memory=self._is_cuda)


def read(
    stored: Mapping[str, StoredTensor],
    forms: Mapping[str, Form],
    device: str,
    arrived: Callable[[int], None],
    pinned: bool = False,
    changes: Mapping[str, Change] = NO_CHANGES,
) -> dict[str, torch.Tensor]:
    """Return the weights on `device` in their `forms`; host tensors may be `pinned`.

    Weights in codes are two tensors, by the names of a layer's parameters. `changes` are made before a weight is
    rounded or quantised. `arrived(bytes)` is called for each piece on the caller's thread; an error in it ends the
    reading at once. Raises `LoadFailed` for files that end too early, and for scales that are not finite.
    """
    target_device = torch.device(device)
    targets = _empty_targets(stored, forms, target_device, pinned)
    if target_device.type == "cuda":
        torch.cuda.synchronize(target_device)  # the readers' streams must not overtake earlier users of this memory
    lanes: SimpleQueue[Lane] = SimpleQueue()
    for _ in range(READERS):
        lanes.put(Lane(target_device))
    with ExitStack() as opened, ThreadPoolExecutor(READERS) as readers:
        files = {path: opened.enter_context(path.open("rb")) for path in {each.file for each in stored.values()}}
        work = [
            readers.submit(_carry, lanes, piece)
            for name, each in stored.items()
            for piece in _pieces(
                files[each.file], each, forms[name], _of(name, each, forms, targets), changes.get(name)
            )
        ]
        try:
            for done in as_completed(work):
                arrived(done.result())
        except BaseException:
            readers.shutdown(cancel_futures=True)
            work.clear()  # with `targets`, all references to memory while the error travels
            targets.clear()
            raise
    return targets


def _empty_targets(
    stored: Mapping[str, StoredTensor], forms: Mapping[str, Form], device: torch.device, pinned: bool
) -> dict[str, torch.Tensor]:
    first_device = torch.device("meta") if pinned else device
    tensors = {
        target: torch.empty(shape, dtype=dtype, device=first_device)
        for name, each in stored.items()
        for target, (shape, dtype) in forms[name].tensors(name, each.shape)
    }
    return dict(zip(tensors, pinned_like(tensors.values()), strict=True)) if pinned else tensors


def _of(
    name: str, stored: StoredTensor, forms: Mapping[str, Form], targets: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    return tuple(targets[target] for target, _ in forms[name].tensors(name, stored.shape))


def _carry(lanes: SimpleQueue[Lane], piece: Piece) -> int:
    lane = lanes.get()
    try:
        return lane.carry(piece)
    finally:
        lanes.put(lane)


def _pieces(
    file: BinaryIO, stored: StoredTensor, form: Form, tensors: tuple[torch.Tensor, ...], change: Change | None
) -> Iterator[Piece]:
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


def _fill(piece: Piece, raw: torch.Tensor) -> None:
    view, offset = memoryview(raw.numpy()), piece.offset  # type: ignore[arg-type]  # an array is a buffer
    while view:
        count = os.preadv(piece.file.fileno(), [view], offset)
        if not count:
            raise LoadFailed(f"{Path(piece.file.name).name} is cut short: a tensor at byte {offset} is not whole")
        view, offset = view[count:], offset + count
