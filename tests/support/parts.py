"""Parts of known sizes, and models of them in a pool."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from router import Pool
from router.engine.pool import PartPool


class Weights:
    """A part of `nbytes`, and the memory it is in."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.memory = "device"


class Moves:
    """An offloader that notes the memory of its part."""

    def cool(self, part: Weights) -> None:
        part.memory = "host"

    def warm(self, part: Weights) -> None:
        part.memory = "device"


class Models:
    """Loads models into a pool that may evict the oldest of them."""

    def __init__(self, budget: int, warm: int = 0, pinned: tuple[str, ...] = ()) -> None:
        self.resident: list[str] = []
        self.reads: list[str] = []
        self.pinned = pinned
        self.pool = PartPool(lambda: budget, warm, evict=self._evict)

    def load(self, model: str, **parts: int) -> dict[str, Weights]:
        share = self.pool.share_of(model)
        share.reserve(parts)
        self.resident.append(model)
        return self._parts(share, parts)

    @contextmanager
    def job(self, model: str, **parts: int) -> Iterator[dict[str, Weights]]:
        """Borrow parts for a job of a model."""
        with self.pool.share_of(model).borrow() as share:
            share.reserve(parts)
            yield self._parts(share, parts)

    def run(self, model: str, **parts: int) -> dict[str, Weights]:
        """Run a job that borrows parts, and return them."""
        with self.job(model, **parts) as borrowed:
            return borrowed

    def _parts(self, share: Pool, parts: Mapping[str, int]) -> dict[str, Weights]:
        return {
            key: share.part(key, lambda key=key, size=size: self._read(key, size), Moves())
            for key, size in parts.items()
        }

    def _read(self, key: str, size: int) -> Weights:
        self.reads.append(key)
        return Weights(size)

    def _evict(self, other: str) -> bool:
        free = [model for model in self.resident if model not in (*self.pinned, other)]
        if free:
            self.resident.remove(free[0])
            self.pool.release(free[0])
        return bool(free)
