"""Parts of models, and the memory of the host for parts without holders."""

import logging
from collections import OrderedDict
from collections.abc import Container, Hashable, Iterator, KeysView
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from router.values import Offloader

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Loan:
    """A block in which `model` borrows parts, such as a job of it."""

    model: str

    def __str__(self) -> str:
        return self.model


Holder = str | Loan  # a model's name, or a loan


@dataclass
class Part:
    """One part, its bytes and its holders; a `private` one has no other taker."""

    value: Any
    size: int
    offloader: Offloader | None
    private: bool = False
    holders: set[Holder] = field(default_factory=set)

    @property
    def models(self) -> frozenset[str]:
        """The models that hold or borrow the part."""
        return frozenset(map(str, self.holders))

    def warm(self) -> None:
        """Move the part back to the device."""
        if self.offloader is not None:
            self.offloader.warm(self.value)


class HostParts:
    """Parts on the host, within `budget` bytes; the oldest leave first."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._parts: OrderedDict[Hashable, Part] = OrderedDict()

    @property
    def size(self) -> int:
        return sum(part.size for part in self._parts.values())

    def keys(self) -> KeysView[Hashable]:
        return self._parts.keys()

    def add(self, key: Hashable, part: Part) -> bool:
        """Move a part to the host; return whether weights have left the memory."""
        if part.offloader is None or part.size > self.budget:
            return part.size > 0
        try:
            part.offloader.cool(part.value)
        except Exception:  # an error of the model that leaves, not of the one that it leaves for
            log.exception("a part could not be moved to the host, and is forgotten")
            return part.size > 0
        self._parts[key] = part
        count = len(self._parts)
        while self.size > self.budget:
            self._parts.popitem(last=False)
        return len(self._parts) < count

    def pop(self, key: Hashable) -> Part | None:
        """Move a part to the device; None if it is not on the host."""
        part = self._parts.pop(key, None)
        if part is not None:
            part.warm()
        return part

    @contextmanager
    def lend(self, keys: Container[Hashable]) -> Iterator[dict[Hashable, Part]]:
        """Take parts out for the block; those left in the dictionary return."""
        lent = {key: self._parts.pop(key) for key in list(self._parts) if key in keys}
        try:
            yield lent
        finally:
            self._parts |= lent

    def clear(self) -> None:
        self._parts.clear()


def size_of(value: Any) -> int:
    """Return a part's bytes: its `nbytes`, or those of parameters and buffers."""
    if isinstance(size := getattr(value, "nbytes", None), int):
        return size
    if not callable(getattr(value, "parameters", None)):
        return 0
    tensors = chain(value.parameters(), value.buffers())
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())  # tied weights count once
