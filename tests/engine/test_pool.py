"""The pool: parts within the budgets of the device and of the host."""

import pytest
from support.parts import Models, Moves, Weights

from router import LoadFailed
from router.engine.pool import PartPool
from router.values import ResidentBytes


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
    assert (first.memory, models.pool.warm_models(), models.pool._host.size) == ("host", ("a",), 60)

    again = models.load("a", first=60)["first"]

    assert (again is first, first.memory) == (True, "device")
    assert models.reads == ["first", "second"]


def test_the_host_is_not_filled_beyond_its_budget() -> None:
    models = Models(50, warm=100)
    for name in ("a", "b", "c", "d"):
        models.load(name, **{f"of {name}": 40})

    assert models.pool._host.size == 80
    assert models.pool.warm_models() == ("b", "c")


def test_a_part_without_an_offloader_goes_for_good() -> None:
    pool = PartPool(lambda: 100, 100)
    pool.share_of("a").part("key", lambda: Weights(10))
    pool.release("a")

    assert (pool.size, pool._host.size, pool.warm_models()) == (0, 0, ())


def test_a_part_of_one_model_alone_is_not_shared_but_counted() -> None:
    pool = PartPool()
    pool.share_of("a").private(lambda: Weights(10))
    pool.share_of("b").private(lambda: Weights(10))

    assert pool.size == 20


def test_a_backend_that_reserves_nothing_gets_its_parts_back_too() -> None:
    pool = PartPool(lambda: 100, 100)
    part = pool.share_of("a").part("key", lambda: Weights(10), Moves())
    pool.release("a")

    again = pool.share_of("b").part("key", lambda: Weights(10), Moves())

    assert (again is part, part.memory) == (True, "device")


class Sticks(Moves):
    """An offloader that fails to move some parts."""

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
    assert (pool.size, pool._host.size, pool.warm_models()) == (0, 10, ())


def test_a_part_that_cannot_be_brought_back_fails_that_load_and_the_others_still_wait() -> None:
    pool = PartPool(lambda: 100, 100)
    for key, size in (("small", 10), ("bad", 13), ("large", 20)):
        pool.share_of("a").part(key, lambda size=size: Weights(size), Sticks())
    pool.release("a")

    with pytest.raises(MemoryError):
        pool.reserve("a", {"small": 10, "bad": 13, "large": 20})
    pool.release("a")

    assert (pool.size, pool._host.size) == (0, 30)
    pool.reserve("a", {"small": 10, "bad": 13, "large": 20})
    assert pool.size == 30


def test_a_part_leaves_with_its_last_holder() -> None:
    pool, loaded = PartPool(), []

    def load() -> str:
        loaded.append(1)
        return "the encoder"

    parts = [pool.share_of(model).part("key", load) for model in ("a", "b")]
    assert (parts, len(loaded)) == (["the encoder"] * 2, 1)
    pool.release("a")
    assert pool.holders() == {"key": {"b"}}
    pool.release("b")
    assert pool.holders() == {}
    assert pool.share_of("c").private(load) == "the encoder"
    assert list(pool.holders().values()) == [{"c"}]
    pool.release("c")
    assert pool.holders() == {}
