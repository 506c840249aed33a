"""Threads and processes on one store: no job twice, none lost, changes in order."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from support.patience import PATIENCE
from support.stores import EVERYWHERE, rows

from registry import Input
from router.jobs import ClaimRequest, Database, JobStore, open_database
from router.values import Artifact, Job, Task

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)
JOBS, HALF = 300, 4  # jobs; threads that add, and as many that claim
FEWER = 90  # jobs of processes
ANY = ClaimRequest(["m"])


def opened(database: Database) -> JobStore:
    return JobStore(database, lease_seconds=60, max_attempts=2, max_queued=10_000)


def job(number: int) -> Job:
    return Job(f"{number:032x}", "me", "m", TASK, created_at=time.time())


def claim_all(store: JobStore, engine: str, claimed: list[str]) -> None:
    """Add the id of each job that an engine gets, until all are there."""
    deadline = time.monotonic() + 4 * PATIENCE
    while len(claimed) < JOBS and time.monotonic() < deadline:
        if (claim := store.claim(engine, ANY)) is not None:
            claimed.append(claim[1].id)
        else:
            time.sleep(0.005)


def read_changes(store: JobStore, is_over: Event) -> list[tuple[int, int, frozenset[str]]]:
    """Follow the changes to the last one; return readings: from, to, jobs."""
    readings, since = [], 0
    while True:
        was_over = is_over.is_set()
        newest, changed = store.changes(since)
        readings.append((since, newest, changed))
        if was_over:
            return readings
        since = newest


@EVERYWHERE
def test_threads_that_add_and_claim_have_each_job_once_and_each_change_in_order(
    open_store: Callable[[], Database],
) -> None:
    databases = open_store(), open_store()
    stores = [store for store, _ in zip(cycle(map(opened, databases)), range(2 * HALF), strict=False)]
    claimed: list[str] = []
    is_over = Event()

    def add(n: int) -> None:
        for number in range(n, JOBS, HALF):
            stores[n].add(job(number))

    def claim(n: int) -> None:
        claim_all(stores[n], f"e{n}", claimed)

    with ThreadPoolExecutor(2 * HALF + 1) as threads:
        reader = threads.submit(read_changes, opened(databases[1]), is_over)
        for done in [threads.submit(work, n) for n in range(HALF) for work in (add, claim)]:
            done.result()
        is_over.set()

    assert sorted(claimed) == [job(n).id for n in range(JOBS)]
    log = rows(databases[0], "SELECT n, job FROM changes ORDER BY n")
    assert [n for n, _ in log] == list(range(1, 2 * JOBS + 1))
    for since, newest, changed in reader.result():
        assert changed == {name for n, name in log if since < n <= newest}
    stored = rows(databases[0], "SELECT id, arrived_at FROM jobs ORDER BY seq")
    first = {name: n for n, name in reversed(log)}  # the number of each job's first change: its commit
    assert [name for name, _ in stored] == sorted(first, key=first.__getitem__)
    assert [at for _, at in stored] == sorted(at for _, at in stored)


def _open(address: Path | str) -> None:
    opened(open_database(address)).newest()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_many_processes_may_open_an_empty_database_at_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    empty = tmp_path / "empty.sqlite" if kind == "sqlite" else request.getfixturevalue("postgres_url")

    assert run([(_open, empty) for _ in range(4)]) == [0] * 4
    assert opened(open_database(empty)).newest() == 0


def _add_and_claim(address: Path | str, first: int, found: Any) -> None:
    store = opened(open_database(address))
    for n in range(first, FEWER, 3):
        store.add(job(n))
        if claim := store.claim(f"e{first}", ANY):
            store.finish(claim[0], VIDEO)
            found.put(claim[1].id)
    while claim := store.claim(f"e{first}", ANY):
        store.finish(claim[0], VIDEO)
        found.put(claim[1].id)


@pytest.mark.slow
def test_no_job_is_run_twice_by_processes_that_race(database: Database, store_address: Path | str) -> None:
    with get_context("spawn").Manager() as manager:
        found = manager.Queue()
        exits = run([(_add_and_claim, store_address, n, found) for n in range(3)])
        ids = sorted(found.get() for _ in range(found.qsize()))

    assert exits == [0] * 3
    assert ids == [job(n).id for n in range(FEWER)]
    assert rows(database, "SELECT count(*), min(n), max(n) FROM changes") == [(3 * FEWER, 1, 3 * FEWER)]


def run(calls: list[tuple[Any, ...]]) -> list[int | None]:
    """Run each call in a process of its own; return their exit codes."""
    processes = [get_context("spawn").Process(target=target, args=arguments) for target, *arguments in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(4 * PATIENCE)
    return [process.exitcode for process in processes]
