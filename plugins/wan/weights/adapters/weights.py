"""An adapter's weights on a device, as a part of the pool."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch

from plugins.wan.checkpoint import Part
from plugins.wan.weights import identity, modules, transfer
from plugins.wan.weights.adapters import file
from plugins.wan.weights.adapters.file import AdapterFile, LowRank, stamp_of
from plugins.wan.weights.forms import Form
from plugins.wan.weights.placement import Placement, class_of, reading
from plugins.wan.weights.safetensors import StoredTensor, dtype_in
from router import LoadFailed, Pool


class Product(NamedTuple):
    """A low-rank change of a weight `(out, in)`: `up` `(out, rank)` times `down` `(rank, in)`."""

    down: torch.Tensor
    up: torch.Tensor


class Delta(NamedTuple):
    """The changes of one weight: products, and tensors of its size."""

    products: tuple[Product, ...] = ()
    added: tuple[torch.Tensor, ...] = ()

    def merged(self, weight: torch.Tensor) -> torch.Tensor:
        """Return `weight` with all changes, rounded once."""
        rows = weight.reshape(len(weight), -1)
        return self.of_rows(rows, range(len(rows)), len(rows)).view_as(weight).to(weight.dtype)

    def of_rows(self, numbers: torch.Tensor, rows: range, total: int) -> torch.Tensor:
        """Return the changed `numbers` of some `rows` of the `total`, in fp32."""
        span = slice(rows.start, rows.stop)
        changed = numbers.float()
        for down, up in self.products:
            changed = changed + up[span].float() @ down.float()
        for tensor in self.added:
            changed = changed + tensor.view(total, -1)[span].float()
        return changed


Deltas = Mapping[str, Delta]  # by the name of a weight in diffusers


class AdapterWeights(torch.nn.Module):
    """The changes of one file, in the number formats of the changed weights."""

    def __init__(self, found: AdapterFile, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self._changes = found.changes
        self._numbers = {name: number for number, name in enumerate(tensors)}
        self.tree = frozenset(chain.from_iterable(map(_above, found.changes)))  # the modules on the way to each weight
        frozen = (torch.nn.Parameter(tensor, requires_grad=False) for tensor in tensors.values())
        self._tensors = torch.nn.ParameterList(frozen)

    def deltas(self, strength: float) -> dict[str, Delta]:
        """Return the changes at a strength; at 1, without factors, no copies."""
        return {
            weight: Delta(
                tuple(self._product(one, strength) for one in changes if isinstance(one, LowRank)),
                tuple(
                    _times(self._of(one.tensor), strength * one.factor)
                    for one in changes
                    if not isinstance(one, LowRank)
                ),
            )
            for weight, changes in self._changes.items()
        }

    def _product(self, change: LowRank, strength: float) -> Product:
        down, up = self._of(change.down).flatten(1), self._of(change.up).flatten(1)
        return Product(down, _times(up, strength * change.factor))

    def _of(self, stored: StoredTensor) -> torch.Tensor:
        return self._tensors[self._numbers[_name(stored)]]


def _above(weight: str) -> Iterator[str]:
    """Yield the names of all modules that hold a weight, the whole among them."""
    while weight:
        weight = weight.rpartition(".")[0]
        yield weight


def total(parts: Sequence[Deltas]) -> dict[str, Delta]:
    """Return the sum of the changes of several adapters."""
    summed: dict[str, Delta] = {}
    for part in parts:
        for weight, delta in part.items():
            known = summed.get(weight, Delta())
            summed[weight] = Delta(known.products + delta.products, known.added + delta.added)
    return summed


@dataclass(frozen=True)
class AdapterPart:
    """An adapter's file for one transformer of a model, before its weights are read."""

    adapter: str
    file: AdapterFile
    part: Part
    placement: Placement

    @classmethod
    def of(cls, path: Path, adapter: str, part: Part, placement: Placement) -> "AdapterPart":
        """Read the header of `path`; raise `LoadFailed` as `file.read` does."""
        return cls(adapter, file.read(path, part, adapter), part, placement)

    def key(self, pool: Pool) -> Hashable:
        # the configuration decides which of its tensors are used; the experts of a model share it
        content = pool.digest(self.file.path), str(self.file.factors), identity.content(self.part.config)
        return ("adapter", *content, str(self.placement.dtype), self.placement.device_of(self.part))

    @property
    def nbytes(self) -> int:
        return sum(form.nbytes(each.shape) for _, each, form in self._tensors())

    def read(self, arrived: Callable[[int], None]) -> AdapterWeights:
        """Return the weights on the device; `arrived(bytes)` is called for each piece."""
        stored, forms = {}, {}
        for name, each, form in self._tensors():
            stored[name], forms[name] = each, form
        with reading(self.part):
            tensors = transfer.read(stored, forms, self.placement.device_of(self.part), arrived)
            changed = stamp_of(self.file.path) != self.file.stamp
        if changed:  # the places of its tensors were those of another file
            raise LoadFailed(f"{self._what} changed while it was read")
        self._require_finite(tensors)
        return AdapterWeights(self.file, tensors)

    @property
    def _what(self) -> str:
        return f"{self.file.path.name} of the adapter {self.adapter}"

    def _require_finite(self, tensors: Mapping[str, torch.Tensor]) -> None:
        # attention makes zeros of some, so that the video would tell nobody
        finite = torch.stack([tensor.isfinite().all() for tensor in tensors.values()])
        if bad := len(tensors) - int(finite.sum()):
            dtype = self.placement.dtype_of(self.part)
            large = ", or too large for fp16: bf16 and fp32 hold larger numbers" if dtype is torch.float16 else ""
            raise LoadFailed(f"{self._what} must hold finite numbers, {bad} of {len(tensors)} tensors do not{large}")

    def _tensors(self) -> Iterator[tuple[str, StoredTensor, Form]]:
        """Yield the name, the place and the form of each tensor."""
        dtype = self.placement.dtype_of(self.part)
        kept = modules.kept_in_fp32(class_of(self.part), dtype)
        for weight, changes in self.file.changes.items():
            for change in changes:
                for stored in (change.down, change.up) if isinstance(change, LowRank) else (change.tensor,):
                    yield _name(stored), stored, Form(dtype_in(weight, stored, dtype, kept))


def _name(stored: StoredTensor) -> str:
    return str(stored.offset)  # unique in its file


def _times(tensor: torch.Tensor, factor: float) -> torch.Tensor:
    return tensor if factor == 1 else tensor * factor
