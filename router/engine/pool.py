"""Parts that models share, within the memory of a device and of its host."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

from router.engine.digests import Digests
from router.engine.parts import HostParts, Part, size_of
from router.errors import LoadFailed
from router.values import Need, Offloader, ResidentBytes, gigabytes

T = TypeVar("T")
UNLIMITED = 2**63
REMEDY = "raise FRAMEGATE_MEMORY_BUDGET, or choose a smaller model or dtype"


class PartPool:
    """The parts of one engine, each of them loaded once.

    A part that a model holds is on the device, where parts take at most `budget()` bytes. When its last holder is
    released, a part with an `Offloader` moves to the host, where parts take at most `warm_budget` bytes; the others
    leave the memory. `evict` unloads a model and returns False if there was none to unload.
    """

    def __init__(
        self,
        budget: Callable[[], int] = lambda: UNLIMITED,
        warm_budget: int = 0,
        digests: Digests | None = None,
        evict: Callable[[], bool] = lambda: False,
    ) -> None:
        self._budget = budget
        self.digest = (digests or Digests()).of
        self._evict = evict
        self._parts: dict[Hashable, Part] = {}
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

    def reserve(self, model: str, sizes: Mapping[Hashable, int]) -> None:
        """Evict models until parts of `sizes` bytes fit on the device.

        Parts that are there already cost nothing; those on the host come back. Raises `LoadFailed` if the sizes exceed
        the budget, or the share of it that pinned models leave.
        """
        total = sum(sizes.values())
        if total > self.budget:
            raise LoadFailed(f"{model} {Need(total, self.budget)}: {REMEDY}")
        for key in sizes.keys() & self._parts.keys():  # before models are evicted: these must not go with them
            self._parts[key].holders.add(model)
        with self._host.lend(sizes) as waiting:  # nor must these leave the host for what is evicted
            self._evict_for(model, sum(size for key, size in sizes.items() if key not in self._parts))
            while waiting:
                key, part = waiting.popitem()
                part.warm()  # one that fails is partly in both memories: it is lost, and the others wait on
                part.holders.add(model)
                self._parts[key] = part

    def _evict_for(self, model: str, missing: int) -> None:
        while self.size + missing > self.budget:
            if not self._evict():
                raise LoadFailed(
                    f"{model} needs {gigabytes(missing)} more on the device, where {gigabytes(self.size)} of "
                    f"{gigabytes(self.budget)} are taken by what may not leave"
                )

    def take(self, model: str, key: Hashable, load: Callable[[], T], offloader: Offloader | None) -> T:
        """Give `model` the part with this key, loading it if need be."""
        part = self._parts.get(key) or self._host.pop(key)
        if part is None:
            value = load()
            part = Part(value, size_of(value), offloader)
        self._parts[key] = part
        part.holders.add(model)
        return cast(T, part.value)

    def release(self, model: str) -> bool:
        """Let go of all that `model` holds; return whether weights have left the memory."""
        self._former[model] = frozenset(key for key, part in self._parts.items() if model in part.holders and part.size)
        for part in self._parts.values():
            part.holders.discard(model)
        free = [key for key, part in self._parts.items() if not part.holders]
        gone = [key for key in free if self._host.add(key, self._parts.pop(key))]
        return bool(gone)

    def forget(self, model: str) -> None:
        """Forget the parts of a released model whose name is another model's now."""
        self._former.pop(model, None)

    def warm_models(self) -> tuple[str, ...]:
        """Return the released models whose parts are all in memory still."""
        here = self._parts.keys() | self._host.keys()
        return tuple(model for model, keys in self._former.items() if keys and keys <= here)

    def drop_warm(self) -> None:
        """Drop the parts that wait on the host."""
        self._host.clear()

    def holders(self) -> dict[Hashable, frozenset[str]]:
        """Return the models that hold each part on the device."""
        return {key: frozenset(part.holders) for key, part in self._parts.items()}

    def held(self, model: str) -> ResidentBytes:
        """Return the bytes that `model` holds alone, and with others."""
        mine = [part for part in self._parts.values() if model in part.holders]
        return ResidentBytes(
            owned=sum(part.size for part in mine if len(part.holders) == 1),
            shared=sum(part.size for part in mine if len(part.holders) > 1),
        )


class Share:
    """The pool of one model: the `pool` argument of `load_model`."""

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
