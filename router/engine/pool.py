"""Parts that models share, within the memory of a device and of its host."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

from router.engine.digests import Digests
from router.engine.parts import Holder, HostParts, Loan, Part, size_of
from router.errors import LoadFailed
from router.values import Need, Offloader, ResidentBytes, gigabytes

T = TypeVar("T")
UNLIMITED = 2**63


class PartPool:
    """The parts of one engine, each of them loaded once.

    A part that a model holds is on the device, where parts take at most `budget()` bytes. When its last holder is
    released, a part with an `Offloader` moves to the host, where parts take at most `warm_budget` bytes; the others
    leave the memory. A part that was borrowed stays on the device, idle, and leaves before any model does. `evict`
    unloads a model other than the named one and returns False if there was none to unload.
    """

    def __init__(
        self,
        budget: Callable[[], int] = lambda: UNLIMITED,
        warm_budget: int = 0,
        digests: Digests | None = None,
        evict: Callable[[str], bool] = lambda model: False,
    ) -> None:
        self._budget = budget
        self.digest = (digests or Digests()).of
        self._evict = evict
        self._parts: dict[Hashable, Part] = {}
        self._idle: dict[Hashable, None] = {}  # of these the borrowed ones without holders, the oldest first
        self._host = HostParts(warm_budget)
        self._former: dict[str, frozenset[Hashable]] = {}  # the parts of models that were released

    def share_of(self, model: str) -> Share:
        """Return the pool of `model`, which holds its parts until `release(model)`."""
        return Share(self, model)

    @cached_property
    def budget(self) -> int:
        """Bytes that parts may take of the device."""
        return self._budget()  # not before a model reserves: only its libraries know the device

    @property
    def size(self) -> int:
        """Bytes of the parts on the device."""
        return sum(part.size for part in self._parts.values())

    @property
    def unheld(self) -> frozenset[Hashable]:
        """The keys of the parts without holders, on the device and on the host."""
        return frozenset((*self._idle, *self._host.keys()))

    def reserve(self, holder: Holder, sizes: Mapping[Hashable, int]) -> None:
        """Evict idle parts, then models, until parts of `sizes` bytes fit on the device.

        Parts that are there already cost nothing; those on the host come back. Raises `LoadFailed` if the sizes exceed
        the budget, or the share of it that pinned models leave.
        """
        total = sum(sizes.values())
        if total > self.budget:
            need = Need(total, self.budget)
            raise LoadFailed(f"{holder} {need}: {need.remedy}")
        for key in sizes.keys() & self._parts.keys():  # before others are evicted: these must not go with them
            self._hold(holder, key, self._parts[key])
        with self._host.lend(sizes) as waiting:  # nor must these leave the host for what is evicted
            self._evict_for(holder, sum(size for key, size in sizes.items() if key not in self._parts))
            while waiting:
                key, part = waiting.popitem()
                part.warm()  # one that fails is partly in both memories: it is lost, and the others wait on
                self._hold(holder, key, part)

    def _evict_for(self, holder: Holder, missing: int) -> None:
        while self.size + missing > self.budget:
            if not self.evict_idle() and not self._evict(str(holder)):
                raise LoadFailed(
                    f"{holder} needs {gigabytes(missing)} more on the device, where {gigabytes(self.size)} of "
                    f"{gigabytes(self.budget)} are taken by what may not leave"
                )

    def evict_idle(self) -> bool:
        """Move the oldest idle part to the host; return False if there is none."""
        if (oldest := next(iter(self._idle), None)) is None:
            return False
        del self._idle[oldest]
        self._leave(oldest)
        return True

    def take(self, holder: Holder, key: Hashable, load: Callable[[], T], offloader: Offloader | None) -> T:
        """Give `holder` the part with this key, loading it if need be."""
        part = self._parts.get(key) or self._host.pop(key)
        if part is None:
            value = load()
            part = Part(value, size_of(value), offloader)
        self._hold(holder, key, part)
        return cast(T, part.value)

    def make(self, holder: Holder, load: Callable[[], T]) -> T:
        """Give `holder` a part of its own."""
        value = load()
        self._hold(holder, object(), Part(value, size_of(value), None, private=True))
        return value

    def _hold(self, holder: Holder, key: Hashable, part: Part) -> None:
        self._parts[key] = part
        self._idle.pop(key, None)
        part.holders.add(holder)

    def _leave(self, key: Hashable) -> bool:
        """Move a part off the device; return whether weights have left the memory."""
        return self._host.add(key, self._parts.pop(key))

    def release(self, model: str) -> bool:
        """Let go of all that `model` holds; return whether weights have left the memory."""
        self._former[model] = frozenset(key for key, part in self._parts.items() if model in part.holders and part.size)
        for part in self._parts.values():
            part.holders.discard(model)
        free = [key for key, part in self._parts.items() if not part.holders and key not in self._idle]
        gone = [key for key in free if self._leave(key)]
        return bool(gone)

    def end(self, loan: Loan) -> None:
        """Let go of what was borrowed; while it fits, it stays idle."""
        for key, part in [each for each in self._parts.items() if loan in each[1].holders]:
            part.holders.discard(loan)
            if part.private:
                self._leave(key)
            elif not part.holders:
                self._idle[key] = None
        while self._idle and self.size > self.budget:  # a backend may have reserved nothing
            self.evict_idle()

    def forget(self, model: str) -> None:
        """Forget the parts of a released model whose name is another model's now."""
        self._former.pop(model, None)

    def warm_models(self) -> tuple[str, ...]:
        """Return the released models whose parts are all in memory still."""
        here = self._parts.keys() | self._host.keys()
        return tuple(model for model, keys in self._former.items() if keys and keys <= here)

    def drop_unheld(self) -> None:
        """Drop the parts without holders, on the device and on the host."""
        for key in self._idle:
            del self._parts[key]
        self._idle.clear()
        self._host.clear()

    def holders(self) -> dict[Hashable, frozenset[str]]:
        """Return the models that hold or borrow each part on the device."""
        return {key: part.models for key, part in self._parts.items()}

    def held(self, model: str) -> ResidentBytes:
        """Return the bytes that `model` holds alone, and with others."""
        mine = [part for part in self._parts.values() if model in part.holders]
        return ResidentBytes(
            owned=sum(part.size for part in mine if len(part.models) == 1),
            shared=sum(part.size for part in mine if len(part.models) > 1),
        )


class Share:
    """The pool of one holder: the `pool` argument of `load_model`, or a borrowed one."""

    def __init__(self, pool: PartPool, holder: Holder) -> None:
        self._pool = pool
        self._holder = holder

    def part(self, key: Hashable, load: Callable[[], T], offloader: Offloader | None = None) -> T:
        return self._pool.take(self._holder, key, load, offloader)

    def private(self, load: Callable[[], T]) -> T:
        return self._pool.make(self._holder, load)

    @contextmanager
    def borrow(self) -> Iterator[Share]:
        loan = Loan(str(self._holder))
        try:
            yield Share(self._pool, loan)
        finally:
            self._pool.end(loan)

    def reserve(self, sizes: Mapping[Hashable, int]) -> None:
        self._pool.reserve(self._holder, sizes)

    def digest(self, path: Path) -> str:
        return self._pool.digest(path)
