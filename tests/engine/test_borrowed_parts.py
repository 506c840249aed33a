"""Borrowed parts: held for a job, idle after it, and the first to leave."""

from contextlib import suppress

import pytest
from support.parts import Models, Moves, Weights

from router import JobCancelled, LoadFailed
from router.engine.pool import PartPool
from router.values import ResidentBytes


def test_a_part_is_held_for_the_block_and_stays_for_the_next_job() -> None:
    models = Models(100)
    models.load("a", first=60)
    with models.job("a", style=20) as parts:
        style = parts["style"]
        assert models.pool.holders() == {"first": {"a"}, "style": {"a"}}

    assert models.pool.holders() == {"first": {"a"}, "style": frozenset()}
    assert models.pool.size == 80
    assert models.run("a", style=20)["style"] is style
    assert models.reads == ["first", "style"]


def test_a_model_holds_none_of_the_bytes_that_its_jobs_borrow() -> None:
    models = Models(100)
    models.load("a", first=60)
    with models.job("a", first=60, style=20):
        assert models.pool.held("a") == ResidentBytes(owned=60, shared=0)
    with models.job("b", first=60):
        assert models.pool.held("a") == ResidentBytes(owned=0, shared=60)
        assert models.pool.held("b") == ResidentBytes(owned=0, shared=0)


def test_idle_parts_leave_before_any_model_and_the_oldest_first() -> None:
    models = Models(100)
    models.load("a", first=40)
    for style in ("one", "two", "one", "three"):
        models.run("a", **{style: 10})
    models.load("b", second=35)

    assert models.resident == ["a", "b"]
    assert set(models.pool.holders()) == {"first", "second", "one", "three"}
    models.load("c", third=30)
    assert models.resident == ["b", "c"]
    assert set(models.pool.holders()) == {"second", "third"}


def test_a_part_that_a_job_borrows_does_not_leave() -> None:
    models = Models(100)
    models.load("a", first=60)
    with models.job("a", style=30):
        with pytest.raises(LoadFailed, match="taken by what may not leave"):
            models.pool.reserve("b", {"second": 80})
        assert set(models.pool.holders()) == {"style"}  # its model was idle, so far as the pool knows


def test_the_model_of_the_job_is_not_unloaded_for_what_the_job_borrows() -> None:
    models = Models(100)
    models.load("a", first=40)
    models.load("b", second=40)
    models.run("a", style=40)

    assert models.resident == ["a"]  # although it was the least recently used
    with pytest.raises(LoadFailed, match=r"a needs .* more on the device"), models.job("a", large=70):
        pass
    assert models.resident == ["a"]


def test_more_than_the_device_can_ever_have_unloads_nobody() -> None:
    models = Models(10**9)
    models.load("a", first=10**8)
    models.load("b", second=10**8)
    models.run("a", style=10**8)
    with pytest.raises(LoadFailed, match="a needs 2 GB of weights"), models.job("a", large=2 * 10**9):
        pass

    assert models.resident == ["a", "b"]
    assert models.pool.size == 3 * 10**8


def test_an_idle_part_waits_on_the_host_and_comes_back_without_a_read() -> None:
    models = Models(100, warm=50)
    models.load("a", first=60)
    style = models.run("a", style=30)["style"]
    models.run("a", other=40)
    assert (style.memory, models.pool.warm_models(), models.pool.unheld) == ("host", (), {"style", "other"})

    with models.job("a", style=30) as parts:
        assert (parts["style"] is style, style.memory) == (True, "device")
        assert models.pool.size == 90
    assert models.reads == ["first", "style", "other"]


def test_a_backend_that_reserves_nothing_gets_its_idle_part_back_from_the_host() -> None:
    pool = PartPool(lambda: 50, 50)
    share = pool.share_of("a")
    parts = []
    for key in ("one", "two", "one"):
        with share.borrow() as borrowed:
            parts.append(borrowed.part(key, lambda: Weights(30), Moves()))

    assert parts[0] is parts[2]
    assert [part.memory for part in parts] == ["device", "host", "device"]
    assert pool.size == 30  # in all jobs together it would be 60


def test_an_idle_part_without_an_offloader_leaves_for_good() -> None:
    pool = PartPool(lambda: 50, 50)
    with pool.share_of("a").borrow() as borrowed:
        borrowed.part("style", lambda: Weights(30))
    assert pool.size == 30
    pool.reserve("b", {"large": 40})

    assert (pool.size, pool.unheld) == (0, frozenset())


@pytest.mark.parametrize("error", [JobCancelled("cancelled"), RuntimeError("failed")])
def test_a_job_that_ends_early_lets_go_of_what_it_borrowed(error: Exception) -> None:
    models = Models(100)
    models.load("a", first=60)
    with pytest.raises(type(error)), models.job("a", style=20):
        raise error

    assert models.pool.unheld == {"style"}
    models.load("b", second=40)
    assert models.resident == ["a", "b"]


def test_a_part_that_cannot_be_read_leaves_the_others_to_the_next_job() -> None:
    models = Models(100)

    def unreadable() -> Weights:
        raise OSError("no such file")

    with models.job("a", one=10) as parts, suppress(OSError), models.pool.share_of("a").borrow() as share:
        share.reserve({"one": 10, "two": 10})
        share.part("two", unreadable, Moves())

    assert (models.pool.unheld, models.pool.size) == ({"one"}, 10)
    assert models.run("a", one=10, two=10)["one"] is parts["one"]


def test_jobs_of_two_models_share_a_part() -> None:
    models = Models(100)
    with models.job("a", style=20) as first:
        with models.job("b", style=20) as second:
            assert first["style"] is second["style"]
            assert models.pool.holders() == {"style": {"a", "b"}}
        assert models.pool.holders() == {"style": {"a"}}

    assert models.reads == ["style"]
    assert (models.pool.size, models.pool.unheld) == (20, {"style"})


def test_a_model_takes_an_idle_part_into_its_own() -> None:
    models = Models(100)
    style = models.run("a", style=60)["style"]

    assert models.load("b", style=60, rest=40)["style"] is style
    assert (models.pool.unheld, models.pool.held("b")) == (frozenset(), ResidentBytes(owned=100, shared=0))
    models.pool.release("b")
    assert models.pool.size == 0


def test_a_model_that_leaves_keeps_nothing_that_its_job_borrows() -> None:
    models = Models(100, warm=100)
    models.load("a", first=40)
    with models.job("a", first=40):
        models.pool.release("a")
        assert models.pool.size == 40

    assert (models.pool.size, models.pool.unheld) == (40, {"first"})
    assert models.pool.warm_models() == ("a",)


def test_a_part_of_one_job_alone_leaves_with_the_job() -> None:
    pool = PartPool()
    with pool.share_of("a").borrow() as borrowed:
        borrowed.private(lambda: Weights(10))
        assert pool.size == 10

    assert (pool.size, pool.unheld) == (0, frozenset())


def test_parts_without_holders_can_all_be_dropped() -> None:
    models = Models(100, warm=100)
    models.load("a", first=60)
    for style in ("one", "two"):
        models.run("a", **{style: 30})
    assert models.pool.unheld == {"one", "two"}
    models.pool.drop_unheld()

    assert (models.pool.unheld, models.pool.size) == (frozenset(), 60)
