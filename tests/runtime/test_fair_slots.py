"""Slots: one owner alone gets half of them, and leaves the rest to others."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random
from threading import Event, Lock

from support.patience import until

from router.runtime.fair_slots import Slots


def held_by(slots: Slots, held: ExitStack, owner: str) -> int:
    """Take slots until an owner gets no more."""
    count = 0
    while held.enter_context(slots.take(owner)):
        count += 1
    return count


def test_each_owner_gets_half_of_what_is_free() -> None:
    with ExitStack() as held:
        slots = Slots(8, 0, 0)

        assert [held_by(slots, held, owner) for owner in "abcde"] == [4, 2, 1, 1, 0]


def test_slots_come_back() -> None:
    slots = Slots(2, 0, 0)
    for _ in range(5):
        with slots.take("a") as taken, slots.take("b") as other, slots.take("c") as third:
            assert (taken, other, third) == (True, True, False)


def test_a_slot_comes_back_after_an_error() -> None:
    slots = Slots(2, 0, 0)
    for _ in range(3):
        try:
            with slots.take("a") as taken:
                assert taken
                raise OSError
        except OSError:
            pass


def test_the_queue_is_bounded_for_an_owner_and_for_all() -> None:
    slots, go = Slots(2, 8, 30), Event()

    def wait(owner: str) -> bool:
        with slots.take(owner) as taken:
            return taken and go.wait(30)

    with ThreadPoolExecutor(40) as pool:
        first = [pool.submit(wait, "a") for _ in range(20)]
        until(lambda: sum(one.done() for one in first) == 15)  # one holds, four wait
        others = [pool.submit(wait, "b") for _ in range(20)]
        until(lambda: sum(one.done() for one in others) == 17)  # one holds, two wait
        go.set()

        assert sum(one.result() for one in first) == 5
        assert sum(one.result() for one in others) == 3


def test_who_waits_too_long_gets_none() -> None:
    slots = Slots(2, 8, 0.05)
    with slots.take("a") as taken, slots.take("a") as again:
        assert (taken, again) == (True, False)


def test_a_newcomer_goes_before_the_queue_of_an_owner_that_holds_some() -> None:
    slots, order, go = Slots(2, 32, 30), list[str](), Event()

    def work(owner: str) -> None:
        with slots.take(owner):
            order.append(owner)
            go.wait(30)

    with ThreadPoolExecutor(20) as pool:
        for _ in range(10):
            pool.submit(work, "a")
        until(lambda: order == ["a"])
        pool.submit(work, "b")
        until(lambda: order == ["a", "b"])
        go.set()
    assert len(order) == 11


def test_never_more_than_there_are_and_nobody_is_forgotten() -> None:
    slots, lock, busy, most = Slots(3, 100, 30), Lock(), 0, 0

    def work(owner: str) -> bool:
        nonlocal busy, most
        with slots.take(owner) as taken:
            with lock:
                busy += taken
                most = max(most, busy)
            with lock:
                busy -= taken
            return taken

    dice = Random(3)
    with ThreadPoolExecutor(30) as pool:
        assert all(pool.map(work, [dice.choice("aaab") + str(dice.randrange(3)) for _ in range(2000)]))
    assert 1 <= most <= 3
