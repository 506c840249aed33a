"""Parts that several models share, held once and counted by the models that hold them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

T = TypeVar("T")


@dataclass
class _Part:
    value: Any
    holders: set[str] = field(default_factory=set)


class PartPool:
    """The parts of one engine. A part leaves with the last model that holds it."""

    def __init__(self) -> None:
        self._parts: dict[Hashable, _Part] = {}

    def share_of(self, model: str) -> Share:
        """Return the pool as `model` sees it: what it takes there is held until `release(model)`."""
        return Share(self, model)

    def take(self, model: str, key: Hashable, load: Callable[[], T]) -> T:
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = _Part(load())
        part.holders.add(model)
        return cast(T, part.value)

    def release(self, model: str) -> None:
        """Let go of everything that `model` holds."""
        for part in self._parts.values():
            part.holders.discard(model)
        self._parts = {key: part for key, part in self._parts.items() if part.holders}

    def holders(self) -> dict[Hashable, frozenset[str]]:
        """Return which models hold each part."""
        return {key: frozenset(part.holders) for key, part in self._parts.items()}


class Share:
    """What a backend's `load_model` is given as `pool`."""

    def __init__(self, pool: PartPool, model: str) -> None:
        self._pool = pool
        self._model = model

    def part(self, key: Hashable, load: Callable[[], T]) -> T:
        return self._pool.take(self._model, key, load)

    def private(self, load: Callable[[], T]) -> T:
        return load()
