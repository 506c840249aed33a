"""What an engine keeps: parts by their bytes, models within a budget, and what waits on the host."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from router import LoadFailed
from router.engine.digests import Digests
from router.engine.pool import PartPool
from router.runtime.byte_size import ByteSize, format_bytes
from router.values import ResidentBytes


class Weights:
    """A part of so many bytes, and where it is."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.place = "device"


class Moves:
    """An offloader that writes down where its part is."""

    def cool(self, part: Weights) -> None:
        part.place = "host"

    def warm(self, part: Weights) -> None:
        part.place = "device"


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
        return {
            key: share.part(key, lambda key=key, size=size: self._read(key, size), Moves())
            for key, size in parts.items()
        }

    def _read(self, key: str, size: int) -> Weights:
        self.reads.append(key)
        return Weights(size)

    def _evict(self) -> bool:
        free = [model for model in self.resident if model not in self.pinned]
        if free:
            self.resident.remove(free[0])
            self.pool.release(free[0])
        return bool(free)


def test_what_two_models_share_is_counted_once() -> None:
    models = Models(100)
    models.load("a", text=50, first=20)
    models.load("b", text=50, second=25)

    assert models.resident == ["a", "b"]
    assert models.pool.size == 95
    assert models.pool.held("a") == ResidentBytes(owned=20, shared=50)
    assert models.pool.held("b") == ResidentBytes(owned=25, shared=50)


def test_the_oldest_leaves_and_what_it_shares_with_the_newcomer_stays() -> None:
    models = Models(100)
    text = models.load("a", text=50, first=30)["text"]
    newcomer = models.load("b", text=50, second=40)

    assert models.resident == ["b"]
    assert newcomer["text"] is text
    assert models.reads == ["text", "first", "second"]
    assert models.pool.size == 90


def test_a_model_too_large_says_what_it_needs_and_what_there_is() -> None:
    models = Models(10**10)
    models.load("a", first=10**9)

    with pytest.raises(LoadFailed, match=r"b needs 57\.2 GB of weights on the device, its budget for weights is 10 GB"):
        models.load("b", large=57_200_000_000)
    assert models.resident == ["a"]  # nobody left for what could not come


def test_what_is_pinned_does_not_leave() -> None:
    models = Models(100, pinned=("a",))
    models.load("a", first=60)

    with pytest.raises(LoadFailed, match="taken by what may not leave"):
        models.load("b", second=50)
    assert models.resident == ["a"]


def test_what_left_waits_on_the_host_and_comes_back_without_a_read() -> None:
    models = Models(100, warm=100)
    first = models.load("a", first=60)["first"]
    models.load("b", second=60)
    assert (first.place, models.pool.warm_models(), models.pool.warm_size) == ("host", ("a",), 60)

    again = models.load("a", first=60)["first"]

    assert (again is first, first.place) == (True, "device")
    assert models.reads == ["first", "second"]


def test_the_host_is_not_filled_beyond_its_budget() -> None:
    models = Models(50, warm=100)
    for name in ("a", "b", "c", "d"):
        models.load(name, **{f"of {name}": 40})

    assert models.pool.warm_size == 80
    assert models.pool.warm_models() == ("b", "c")


def test_a_part_without_a_tier_goes_for_good() -> None:
    pool = PartPool(lambda: 100, 100)
    pool.share_of("a").part("key", lambda: Weights(10))
    pool.release("a")

    assert (pool.size, pool.warm_size, pool.warm_models()) == (0, 0, ())


def test_a_part_of_one_model_alone_is_not_shared_but_counted() -> None:
    pool = PartPool()
    pool.share_of("a").private(lambda: Weights(10))
    pool.share_of("b").private(lambda: Weights(10))

    assert pool.size == 20


@pytest.mark.parametrize(
    ("text", "size"), [("90%", 900), ("24GB", 24 * 10**9), ("1.5 gib", 3 * 2**29), ("512MiB", 2**29), ("77", 77)]
)
def test_an_amount_of_memory(text: str, size: int) -> None:
    assert ByteSize.parse(text).of(1000) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "101%", "1 potato", "1e9", "GB"])
def test_an_amount_that_is_none_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="must be a byte size such as 24GB, 512MiB or 90%, got"):
        ByteSize.parse(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 B"), (999, "999.0 B"), (2_500, "2.5 kB"), (11_361_845_248, "11.4 GB"), (10**15, "1000.0 TB")],
)
def test_bytes_are_spelt_for_people(size: int, text: str) -> None:
    assert format_bytes(size) == text


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    import hashlib

    reads: list[int] = []
    real: Callable[..., object] = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: (reads.append(1), real(*given))[1])
    return reads


def test_a_digest_is_computed_once_and_remembered_by_other_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = counted(monkeypatch)
    (tmp_path / "one").write_bytes(b"weights")
    (tmp_path / "two").write_bytes(b"weights")
    (tmp_path / "three").write_bytes(b"weighty")
    first, second = Digests(tmp_path / "digests.json"), Digests(tmp_path / "digests.json")

    assert first.of(tmp_path / "one") == first.of(tmp_path / "two") != first.of(tmp_path / "three")
    assert second.of(tmp_path / "one") == first.of(tmp_path / "one")
    assert len(reads) == 3
    (tmp_path / "one").write_bytes(b"changed")
    os.utime(tmp_path / "one", ns=(1, 1))
    assert second.of(tmp_path / "one") != first.of(tmp_path / "two")


def test_a_file_of_digests_that_is_broken_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "digests.json").write_text("{")
    (tmp_path / "one").write_bytes(b"weights")

    found = Digests(tmp_path / "digests.json").of(tmp_path / "one")

    assert json.loads((tmp_path / "digests.json").read_text())[str(tmp_path / "one")][2] == found


def test_the_name_in_the_hubs_cache_is_believed(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"weights")

    assert Digests().of(blob) == "ab" * 32


def test_a_backend_that_reserves_nothing_gets_its_parts_back_too() -> None:
    pool = PartPool(lambda: 100, 100)
    part = pool.share_of("a").part("key", lambda: Weights(10), Moves())
    pool.release("a")

    again = pool.share_of("b").part("key", lambda: Weights(10), Moves())

    assert (again is part, part.place) == (True, "device")


class Sticks(Moves):
    """An offloader that fails to move what is said to stick."""

    def __init__(self, cools: bool = True) -> None:
        self._cools = cools

    def cool(self, part: Weights) -> None:
        if not self._cools:
            raise RuntimeError("no pages to lock")
        super().cool(part)

    def warm(self, part: Weights) -> None:
        if part.nbytes == 13:
            raise MemoryError("no room on the device")
        super().warm(part)


def test_a_part_that_cannot_be_moved_to_the_host_is_forgotten_and_whoever_comes_does_not_suffer() -> None:
    pool = PartPool(lambda: 100, 100)
    pool.share_of("a").part("first", lambda: Weights(60), Sticks(cools=False))
    pool.share_of("a").part("second", lambda: Weights(10), Moves())

    assert pool.release("a")
    assert (pool.size, pool.warm_size, pool.warm_models()) == (0, 10, ())


def test_a_part_that_cannot_be_brought_back_fails_that_load_and_the_others_still_wait() -> None:
    pool = PartPool(lambda: 100, 100)
    for key, size in (("small", 10), ("bad", 13), ("large", 20)):
        pool.share_of("a").part(key, lambda size=size: Weights(size), Sticks())
    pool.release("a")

    with pytest.raises(MemoryError):
        pool.reserve("a", {"small": 10, "bad": 13, "large": 20})
    pool.release("a")

    assert (pool.size, pool.warm_size) == (0, 30)
    pool.reserve("a", {"small": 10, "bad": 13, "large": 20})
    assert pool.size == 30


def test_a_digest_that_cannot_be_kept_fails_no_load(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    (tmp_path / "digests.json").mkdir()  # as little writable as a file of a full disk

    found = Digests(tmp_path / "digests.json").of(tmp_path / "weights")

    assert found == hashlib.sha256(b"1").hexdigest()
