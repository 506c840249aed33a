"""Parts that several models share, held once, within the memory of a device and of its host."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast

from router.engine.digests import Digests
from router.errors import LoadFailed
from router.values import Need, Offloader, ResidentBytes

T = TypeVar("T")
UNLIMITED = 2**63
REMEDY = "raise FRAMEGATE_MEMORY_BUDGET, or choose a smaller model or dtype"
log = logging.getLogger(__name__)


@dataclass
class _Part:
    value: Any
    size: int
    offloader: Offloader | None
    holders: set[str] = field(default_factory=set)


class PartPool:
    """The parts of one engine.

    A part that a model holds is on the device; the sizes of those are within `budget()` bytes, which is asked
    for when a model first says what it needs: only such a model's libraries know the device. When the last
    holder goes, a part with an `Offloader` moves to the host, where the least recently left ones go first
    once they exceed `warm_budget`; all others go at once. `make_room` unloads a model and says whether there was one.
    """

    def __init__(
        self,
        budget: Callable[[], int] = lambda: UNLIMITED,
        warm_budget: int = 0,
        digests: Digests | None = None,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self._budget = budget
        self.warm_budget = warm_budget
        self._digests = digests or Digests()
        self._make_room = make_room
        self._parts: dict[Hashable, _Part] = {}
        self._warm: OrderedDict[Hashable, _Part] = OrderedDict()
        self._left: dict[str, frozenset[Hashable]] = {}  # what models that have gone held

    def share_of(self, model: str) -> Share:
        """Return the pool as `model` sees it: what it takes there is held until `release(model)`."""
        return Share(self, model)

    @cached_property
    def budget(self) -> int:
        """Bytes that parts may take of the device."""
        return self._budget()

    @property
    def size(self) -> int:
        """Bytes of the parts on the device."""
        return sum(part.size for part in self._parts.values())

    @property
    def warm_size(self) -> int:
        """Bytes of the parts that wait on the host."""
        return sum(part.size for part in self._warm.values())

    def digest(self, path: Path) -> str:
        return self._digests.of(path)

    def reserve(self, model: str, sizes: Mapping[Hashable, int]) -> None:
        """Make room on the device for parts of `sizes` bytes, and bring back those that wait on the host.

        Those that are here cost nothing. Raises `LoadFailed` where they are too large for the budget, or
        what may not leave fills it.
        """
        wanted = sum(sizes.values())
        if wanted > self.budget:
            raise LoadFailed(f"{model} {Need(wanted, self.budget)}: {REMEDY}")
        for key in sizes.keys() & self._parts.keys():  # before anybody leaves: these must not go with them
            self._parts[key].holders.add(model)
        waiting = {key: self._warm.pop(key) for key in list(self._warm) if key in sizes}  # nor make room for them
        try:
            self._require(model, sum(size for key, size in sizes.items() if key not in self._parts))
        except LoadFailed:
            self._warm |= waiting
            raise
        while waiting:
            key, part = waiting.popitem()
            try:
                _wake(part)
            except BaseException:  # that one is in two places and no use any more; the others still wait
                self._warm |= waiting
                raise
            part.holders.add(model)
            self._parts[key] = part

    def _require(self, model: str, missing: int) -> None:
        """Let models leave until there is room for so many bytes more."""
        while self.size + missing > self.budget:
            if not self._make_room():
                raise LoadFailed(
                    f"{model} needs {_gigabytes(missing)} more on the device, where {_gigabytes(self.size)} of "
                    f"{_gigabytes(self.budget)} are taken by what may not leave"
                )

    def take(self, model: str, key: Hashable, load: Callable[[], T], offloader: Offloader | None) -> T:
        part = self._parts.get(key)
        if part is None and (part := self._warm.pop(key, None)) is not None:
            _wake(part)
        if part is None:
            value = load()
            part = _Part(value, measured(value), offloader)
        self._parts[key] = part
        part.holders.add(model)
        return cast(T, part.value)

    def release(self, model: str) -> bool:
        """Let go of everything that `model` holds; return whether a part has left the memory for good."""
        self._left[model] = frozenset(key for key, part in self._parts.items() if model in part.holders and part.size)
        for part in self._parts.values():
            part.holders.discard(model)
        free = [key for key, part in self._parts.items() if not part.holders]
        gone = [key for key in free if self._leave(key, self._parts.pop(key))]
        return bool(gone)

    def forget(self, model: str) -> None:
        """Say that what goes by this name now is another model than the one that has gone."""
        self._left.pop(model, None)

    def waiting(self) -> tuple[str, ...]:
        """Return the models that have gone and would come back without a read: their parts are all here."""
        here = self._parts.keys() | self._warm.keys()
        return tuple(model for model, keys in self._left.items() if keys and keys <= here)

    def drop_warm(self) -> None:
        """Forget what waits on the host."""
        self._warm.clear()

    def holders(self) -> dict[Hashable, frozenset[str]]:
        """Return which models hold each part."""
        return {key: frozenset(part.holders) for key, part in self._parts.items()}

    def held(self, model: str) -> ResidentBytes:
        """Return how many bytes `model` holds alone, and with others."""
        mine = [part for part in self._parts.values() if model in part.holders]
        return ResidentBytes(
            owned=sum(part.size for part in mine if len(part.holders) == 1),
            shared=sum(part.size for part in mine if len(part.holders) > 1),
        )

    def _leave(self, key: Hashable, part: _Part) -> bool:
        """Move a part to the host if it can wait there; return whether anything has left the memory for good."""
        if part.offloader is None or part.size > self.warm_budget:
            return part.size > 0
        try:
            part.offloader.cool(part.value)
        except Exception:  # whoever left does not suffer from it, nor who made it leave
            log.exception("a part could not be moved to the host, and is forgotten")
            return part.size > 0
        self._warm[key] = part
        before = len(self._warm)
        while self.warm_size > self.warm_budget:
            self._warm.popitem(last=False)
        return len(self._warm) < before


class Share:
    """What a backend's `load_model` is given as `pool`."""

    def __init__(self, pool: PartPool, model: str) -> None:
        self._pool = pool
        self._model = model

    def part(self, key: Hashable, load: Callable[[], T], offloader: Offloader | None = None) -> T:
        return self._pool.take(self._model, key, load, offloader)

    def private(self, load: Callable[[], T]) -> T:
        return self._pool.take(self._model, object(), load, None)

    def reserve(self, sizes: Mapping[Hashable, int]) -> None:
        self._pool.reserve(self._model, sizes)

    def digest(self, path: Path) -> str:
        return self._pool.digest(path)


def measured(value: Any) -> int:
    """Return the bytes of a part: what it says itself (`nbytes`), or those of its parameters and buffers."""
    if isinstance(size := getattr(value, "nbytes", None), int):
        return size
    if not callable(getattr(value, "parameters", None)):
        return 0
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in _tensors(value)}.values())


def _wake(part: _Part) -> None:
    if part.offloader is not None:
        part.offloader.warm(part.value)


def _tensors(module: Any) -> Iterator[Any]:
    return chain(module.parameters(), module.buffers())


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
