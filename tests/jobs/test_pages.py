"""Pages of jobs: walks see each job once, whatever comes and goes."""

import time
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from registry import Input
from router.jobs import Database, JobStore
from router.values import Job, Task

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
WALKS = [("sqlite", n) for n in range(10)] + [("postgresql", n) for n in range(3)]  # each takes seconds there


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, lease_seconds=30, max_attempts=2, max_queued=1000)


def job(n: int = 1, owner: str = "me") -> Job:
    return Job(f"{n:032x}", owner, "m", TASK, created_at=time.time())


def walked(store: JobStore, *, newest_first: bool, limit: int, meanwhile: Callable[[list[str]], None]) -> list[str]:
    """Return every id of all pages; `meanwhile` is called between two pages."""
    seen: list[str] = []
    while page := store.page("me", after=seen[-1] if seen else None, limit=limit, newest_first=newest_first):
        seen.extend(found.id for found in page)
        meanwhile(seen)
    return seen


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_a_walk_through_pages_sees_each_job_once_in_order(store: JobStore, limit: int, newest_first: bool) -> None:
    made = [store.add(replace(job(n), created_at=1.0)).id for n in range(20)]
    store.add(job(99, owner="you"))
    seen = walked(store, newest_first=newest_first, limit=limit, meanwhile=lambda seen: None)

    assert seen == (made[::-1] if newest_first else made)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize(("store_address", "seed"), WALKS, indirect=["store_address"])
def test_a_walk_sees_what_was_there_throughout_whatever_comes_and_goes(
    store: JobStore, seed: int, newest_first: bool
) -> None:
    dice = Random(seed)
    there = [store.add(replace(job(n), created_at=1.0)).id for n in range(25)]
    every, gone = list(there), set[str]()

    def meanwhile(seen: list[str]) -> None:
        if len(every) < 60:
            every.append(store.add(job(1000 + len(every))).id)
        for which in {seen[-1], dice.choice(every)} if dice.random() < 0.7 else set():
            gone.add(which)
            store.delete(which, "me")

    seen = walked(store, newest_first=newest_first, limit=dice.randint(1, 6), meanwhile=meanwhile)

    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen, key=every.index, reverse=newest_first)
    assert set(there) - gone <= set(seen)


def test_whoever_deletes_page_by_page_comes_to_the_end(store: JobStore) -> None:
    for n in range(10):
        store.add(job(n))
    seen = walked(store, newest_first=True, limit=3, meanwhile=lambda seen: [store.delete(one, "me") for one in seen])

    assert len(seen) == 10
    assert store.page("me", after=None, limit=100, newest_first=True) == ()


def test_a_page_after_what_was_never_there_or_is_not_mine_is_none(store: JobStore) -> None:
    others = store.add(job(1, owner="you"))

    for unknown in ("", "x", job(9).id, others.id):
        assert store.page("me", after=unknown, limit=5, newest_first=True) is None
