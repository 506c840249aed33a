"""Tensors from files to a device: parallel reads, with only pieces in host memory."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType

import torch

from plugins.wan.weights.forms import Form
from plugins.wan.weights.host_memory import pinned_like
from plugins.wan.weights.pieces import PIECE_BYTES, Change, Piece, pieces
from plugins.wan.weights.safetensors import StoredTensor
from router import LoadFailed

READERS = 8  # one copies some GB/s out of the page cache, a GPU's bus takes 50
NO_CHANGES: Mapping[str, "Change"] = MappingProxyType({})


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
            for piece in pieces(files[each.file], each, forms[name], _of(name, each, forms, targets), changes.get(name))
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


def _fill(piece: Piece, raw: torch.Tensor) -> None:
    view, offset = memoryview(raw.numpy()), piece.offset  # type: ignore[arg-type]  # an array is a buffer
    while view:
        count = os.preadv(piece.file.fileno(), [view], offset)
        if not count:
            raise LoadFailed(f"{Path(piece.file.name).name} is cut short: a tensor at byte {offset} is not whole")
        view, offset = view[count:], offset + count
