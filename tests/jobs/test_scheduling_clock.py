"""The scheduling clock across processes, reboots and jumps of the wall clock."""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.stores import change, instant, rows

from registry import Input
from router.jobs import ClaimRequest, Database, JobStore, open_database
from router.values import Job, Task

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
PROCESSES, EACH = 3, 15


@pytest.fixture
def store(database: Database) -> JobStore:
    return opened(database)


def opened(database: Database) -> JobStore:
    return JobStore(database, lease_seconds=30, max_attempts=2, max_queued=1000)


def add(store: JobStore, name: str) -> str:
    return store.add(Job(name, "me", "m", TASK, created_at=time.time(), estimate=1.0)).id


def arrivals(database: Database) -> list[float]:
    return [seconds for (seconds,) in rows(database, "SELECT arrived_at FROM jobs ORDER BY seq")]


def test_a_jump_of_the_wall_clock_does_not_change_the_order(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    for name, jump in (("first", 0), ("second", -86_400), ("third", 86_400)):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        add(store, name)

    claims = [store.claim("e", ClaimRequest("m")) for _ in range(3)]
    assert [claim[1].id for claim in claims if claim] == ["first", "second", "third"]


def test_after_a_reboot_new_jobs_come_after_the_old_ones(
    store: JobStore, database: Database, open_store: Callable[[], Database]
) -> None:
    add(store, "old")
    this = instant(database)
    week = this.now + 7 * 86_400
    change(database, "UPDATE scheduling_clock SET boot = 'another'")
    change(database, "UPDATE jobs SET arrived_at = :at, due_at = :at + 12", at=week)  # that boot had lasted a week
    add(opened(open_store()), "new")
    add(store, "newer")
    old, new, newer = arrivals(database)

    assert old <= new <= newer < old + 60
    assert rows(database, "SELECT boot, shift > 0 FROM scheduling_clock") == [(this.boot, True)]
    claims = [store.claim("e", ClaimRequest("m")) for _ in range(3)]
    assert [claim[1].id for claim in claims if claim] == ["old", "new", "newer"]


def test_a_shift_lasts_as_long_as_its_boot(
    store: JobStore, database: Database, open_store: Callable[[], Database]
) -> None:
    add(store, "before")
    change(database, "UPDATE scheduling_clock SET shift = 1e6")
    add(store, "after")
    store.delete("after", "me")
    add(opened(open_store()), "last")  # although no job is left of that time

    before, last = arrivals(database)
    assert 0 <= last - before - 1e6 < 60


def test_jobs_of_a_store_of_before_go_first(store: JobStore, database: Database) -> None:
    for name in ("one", "two"):
        add(store, name)
    change(database, "UPDATE jobs SET arrived_at = 0, due_at = 0")  # as the migration leaves them
    change(database, "DELETE FROM scheduling_clock")
    add(store, "three")

    claims = [store.claim("e", ClaimRequest("m")) for _ in range(3)]
    assert [claim[1].id for claim in claims if claim] == ["one", "two", "three"]


def test_many_processes_share_the_clock(database: Database, store_address: Path | str) -> None:
    started = instant(database).now
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=add_some, args=(store_address, number)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    times = arrivals(database)

    assert len(times) == PROCESSES * EACH
    assert times == sorted(times)
    assert started <= times[0] <= times[-1] <= instant(database).now


def add_some(address: Path | str, number: int) -> None:
    store = opened(open_database(address))
    for n in range(EACH):
        add(store, f"{number}-{n}")
