"""The scheduling clock across processes, reboots and jumps of the wall clock."""

import multiprocessing
import sqlite3
import time
from pathlib import Path

import pytest

from registry import Input
from router.jobs import ClaimRequest, JobStore, open_database
from router.runtime import clock
from router.values import Job, Task

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
PROCESSES, EACH = 3, 15


def opened(folder: Path) -> JobStore:
    return JobStore(open_database(folder / "jobs.sqlite"), lease_seconds=30, max_attempts=2, max_queued=1000)


def add(store: JobStore, name: str) -> str:
    return store.add(Job(name, "me", "m", TASK, created_at=time.time(), estimate=1.0)).id


def rows(folder: Path, query: str) -> list[tuple[float, ...]]:
    with sqlite3.connect(folder / "jobs.sqlite") as db:
        return db.execute(query).fetchall()


def change(folder: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(folder / "jobs.sqlite") as db:
        db.execute(statement, values)


def test_a_jump_of_the_wall_clock_does_not_change_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, real = opened(tmp_path), time.time
    for name, jump in (("first", 0), ("second", -86_400), ("third", 86_400)):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        add(store, name)

    claims = [store.claim("e", ClaimRequest("m")) for _ in range(3)]
    assert [claim[1].id for claim in claims if claim] == ["first", "second", "third"]


def test_after_a_reboot_new_jobs_come_after_the_old_ones(tmp_path: Path) -> None:
    store = opened(tmp_path)
    add(store, "old")
    week = clock.now() + 7 * 86_400
    change(tmp_path, "UPDATE scheduling_clock SET boot = 'another'")
    change(tmp_path, "UPDATE jobs SET arrived_at = ?, due_at = ? + 12", week, week)  # that boot had lasted a week
    add(opened(tmp_path), "new")
    add(store, "newer")
    old, new, newer = (seconds for (seconds,) in rows(tmp_path, "SELECT arrived_at FROM jobs ORDER BY seq"))

    assert old <= new <= newer < old + 60
    assert rows(tmp_path, "SELECT boot, shift > 0 FROM scheduling_clock") == [(clock.boot(), 1)]
    claims = [store.claim("e", ClaimRequest("m")) for _ in range(3)]
    assert [claim[1].id for claim in claims if claim] == ["old", "new", "newer"]


def test_a_shift_lasts_as_long_as_its_boot(tmp_path: Path) -> None:
    store = opened(tmp_path)
    add(store, "before")
    change(tmp_path, "UPDATE scheduling_clock SET shift = 1e6")
    add(store, "after")
    store.delete("after", "me")
    add(opened(tmp_path), "last")  # although no job is left of that time

    before, last = (seconds for (seconds,) in rows(tmp_path, "SELECT arrived_at FROM jobs ORDER BY seq"))
    assert 0 <= last - before - 1e6 < 60


def test_jobs_of_a_store_of_before_go_first(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for name in ("one", "two"):
        add(store, name)
    change(tmp_path, "UPDATE jobs SET arrived_at = 0, due_at = 0")  # as the migration leaves them
    change(tmp_path, "DELETE FROM scheduling_clock")
    add(store, "three")

    claims = [store.claim("e", ClaimRequest("m")) for _ in range(3)]
    assert [claim[1].id for claim in claims if claim] == ["one", "two", "three"]


def test_many_processes_share_the_clock(tmp_path: Path) -> None:
    opened(tmp_path)
    started = clock.now()
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=add_some, args=(tmp_path, number)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    times = [seconds for (seconds,) in rows(tmp_path, "SELECT arrived_at FROM jobs ORDER BY seq")]

    assert len(times) == PROCESSES * EACH
    assert times == sorted(times)
    assert started <= times[0] <= times[-1] <= clock.now()


def add_some(folder: Path, number: int) -> None:
    store = opened(folder)
    for n in range(EACH):
        add(store, f"{number}-{n}")
