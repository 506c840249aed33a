"""Tensors from files to a device: parallel reads, with only pieces in host memory."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import torch

from plugins.wan.weights.host_memory import pinned_like
from plugins.wan.weights.safetensors import StoredTensor
from router import LoadFailed

READERS = 8  # one copies some GB/s out of the page cache, a GPU's bus takes 50
PIECE_BYTES = {"cpu": 2 * 2**20, "cuda": 8 * 2**20}  # of a file, in one reader's buffer


@dataclass(frozen=True)
class Piece:
    """`length` bytes at `offset` of an open file, and their flat target."""

    file: BinaryIO
    offset: int
    length: int
    dtype: torch.dtype
    target: torch.Tensor


class Lane:
    """One reader's buffer in host memory; for a GPU, page-locked and with a stream."""

    def __init__(self, device: torch.device) -> None:
        cuda = device.type == "cuda"
        self._buffer = torch.empty(PIECE_BYTES[device.type], dtype=torch.uint8, pin_memory=cuda)
        self._stream = torch.cuda.Stream(device) if cuda else None

    def carry(self, piece: Piece) -> None:
        if self._stream is None and piece.dtype is piece.target.dtype:
            _fill(piece, piece.target.view(torch.uint8))
            return
        raw = self._buffer[: piece.length]
        _fill(piece, raw)
        values = raw.view(piece.dtype)
        if self._stream is None:
            piece.target.copy_(values)
            return
        with torch.cuda.stream(self._stream):
            if values.dtype is not piece.target.dtype:  # the GPU converts faster than the host
                values = values.to(piece.target.device, non_blocking=True)
            piece.target.copy_(values, non_blocking=True)
        self._stream.synchronize()


def read(
    stored: Mapping[str, StoredTensor],
    dtypes: Mapping[str, torch.dtype],
    device: str,
    arrived: Callable[[int], None],
    pinned: bool = False,
) -> dict[str, torch.Tensor]:
    """Return the tensors on `device` in their `dtypes`; host tensors may be `pinned`.

    `arrived(bytes)` is called for each piece on the caller's thread; an error in it ends the reading at once. Raises
    `LoadFailed` for files that end too early.
    """
    target_device = torch.device(device)
    targets = _empty_targets(stored, dtypes, target_device, pinned)
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
            for piece in _pieces(files[each.file], each, targets[name])
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
    stored: Mapping[str, StoredTensor], dtypes: Mapping[str, torch.dtype], device: torch.device, pinned: bool
) -> dict[str, torch.Tensor]:
    first_device = torch.device("meta") if pinned else device
    tensors = {name: torch.empty(each.shape, dtype=dtypes[name], device=first_device) for name, each in stored.items()}
    return dict(zip(tensors, pinned_like(tensors.values()), strict=True)) if pinned else tensors


def _carry(lanes: SimpleQueue[Lane], piece: Piece) -> int:
    lane = lanes.get()
    try:
        lane.carry(piece)
    finally:
        lanes.put(lane)
    return piece.target.nbytes


def _pieces(file: BinaryIO, stored: StoredTensor, target: torch.Tensor) -> Iterator[Piece]:
    flat = target.view(-1)
    size = stored.dtype.itemsize
    step = PIECE_BYTES[target.device.type] // size
    for first in range(0, flat.numel(), step):
        part = flat[first : first + step]
        yield Piece(file, stored.offset + first * size, part.numel() * size, stored.dtype, part)


def _fill(piece: Piece, raw: torch.Tensor) -> None:
    view, offset = memoryview(raw.numpy()), piece.offset  # type: ignore[arg-type]  # an array is a buffer
    while view:
        count = os.preadv(piece.file.fileno(), [view], offset)
        if not count:
            raise LoadFailed(f"{Path(piece.file.name).name} is cut short: a tensor at byte {offset} is not whole")
        view, offset = view[count:], offset + count
