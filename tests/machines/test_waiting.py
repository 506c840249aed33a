"""Clients that wait for a job at several machines, and leave."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text
from support.patience import until
from support.postgresql import Postgres

from router.jobs import WaiterStore
from router.jobs.waiters import VALID_SECONDS
from router.system import System
from router.values import Job, Presentation, Status, Task
from router.web.waiting import presence as presences
from router.web.waiting.disconnects import DisconnectMonitor
from router.web.waiting.presence import SharedPresence
from router.web.waiting.watch import Watch

Pair = tuple[System, System]
JOB, OTHER = "a" * 32, "b" * 32
LEAVE_SECONDS = 0.2


@pytest.fixture
def two(pair: Pair) -> tuple[SharedPresence, SharedPresence]:
    one, two = (SharedPresence(WaiterStore(system.database)) for system in pair)
    return one, two


def expire(system: System) -> None:
    """Let the rows of waiters expire, as when no process has renewed them."""
    with system.database.write() as db:
        db.execute(text("UPDATE waiters SET until = until - :valid"), {"valid": VALID_SECONDS + 1})


def rows(system: System) -> int:
    with system.database.read() as db:
        return int(db.scalar(text("SELECT count(*) FROM waiters")) or 0)


def test_a_waiter_of_another_machine_is_seen_until_it_leaves(two: tuple[SharedPresence, ...]) -> None:
    one, other = two
    other.enter(JOB)
    other.enter(JOB)

    assert not one.is_empty(JOB)
    assert one.is_empty(OTHER)
    other.leave(JOB)
    assert not one.is_empty(JOB)
    other.leave(JOB)
    assert one.is_empty(JOB)
    assert other.is_empty(JOB)


def test_the_last_of_two_that_leave_at_once_sees_nobody(two: tuple[SharedPresence, ...]) -> None:
    for presence in two:
        presence.enter(JOB)
    for presence in two:
        presence.leave(JOB)

    assert [presence.is_empty(JOB) for presence in two] == [True, True]


def test_a_waiter_that_comes_while_the_last_one_leaves_is_seen(pair: Pair) -> None:
    class Store(WaiterStore):
        def leave(self, job_id: str, process: str) -> None:
            one.enter(job_id)
            super().leave(job_id, process)

    one, other = SharedPresence(Store(pair[0].database)), SharedPresence(WaiterStore(pair[1].database))
    one.enter(JOB)
    one.leave(JOB)

    assert not other.is_empty(JOB)


def test_a_waiter_of_a_dead_machine_is_forgotten_and_one_that_renews_is_not(
    pair: Pair, two: tuple[SharedPresence, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presences, "RENEW_SECONDS", 0)
    dead, alive = two
    dead.enter(JOB)
    alive.enter(OTHER)
    expire(pair[0])
    alive.renew()

    assert alive.is_empty(JOB)
    assert not dead.is_empty(OTHER)
    expire(pair[0])
    alive.renew()
    assert rows(pair[0]) == 1  # a row that has long expired is removed
    alive.leave(OTHER)
    alive.renew()
    assert rows(pair[0]) == 0


def test_a_renewal_writes_what_could_not_be_written(
    pair: Pair, two: tuple[SharedPresence, ...], postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presences, "RENEW_SECONDS", 0)
    one, other = two
    other.enter(OTHER)
    postgres.stop("immediate")
    other.enter(JOB)
    other.leave(OTHER)
    postgres.start()
    until(lambda: all(system.database.problem() is None for system in pair))
    other.renew()
    assert not one.is_empty(JOB)

    expire(pair[0])
    other.renew()
    assert (one.is_empty(JOB), one.is_empty(OTHER)) == (False, True)


def test_a_process_without_waiters_sends_nothing(
    pair: Pair, two: tuple[SharedPresence, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presences, "RENEW_SECONDS", 0)
    two[0].enter(JOB)
    two[0].leave(JOB)
    monkeypatch.setattr(WaiterStore, "renew", lambda *_: pytest.fail("a renewal of nothing"))
    two[0].renew()

    assert not two[0].needs_renewal


class Site:
    """The monitor of a machine, and its clients of one job."""

    def __init__(self, system: System) -> None:
        self.monitor = DisconnectMonitor(system, seconds=LEAVE_SECONDS)
        self._jobs = system.jobs

    def wait(self, job: Job) -> Callable[[], None]:
        """Let a client wait; return a function by which it leaves."""
        watch = Watch(job, self._jobs, seconds=60, stopping=lambda: False)
        attended = self.monitor.attended(watch, None)
        attended.__enter__()

        def leave() -> None:
            watch.leave()
            attended.__exit__(None, None, None)

        return leave


@pytest.fixture
def sites(pair: Pair) -> Iterator[tuple[Site, Site]]:
    one, two = Site(pair[0]), Site(pair[1])
    yield one, two
    one.monitor.drain()
    two.monitor.drain()


@pytest.fixture
def job(pair: Pair) -> Job:
    task = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset())
    waits = replace(Presentation(), attended=True)
    return pair[0].jobs.add(Job(JOB, "local", "text", task, created_at=time.time(), presentation=waits))


def status(system: System) -> Status:
    found = system.jobs.get(JOB, "local")
    assert found is not None
    return found.status


def test_a_job_goes_on_while_its_client_waits_at_another_machine(
    pair: Pair, sites: tuple[Site, Site], job: Job
) -> None:
    leave_one, leave_two = (site.wait(job) for site in sites)
    leave_one()
    time.sleep(5 * LEAVE_SECONDS)  # it must not be cancelled in all this time
    assert status(pair[0]) is Status.QUEUED

    leave_two()
    until(lambda: status(pair[0]) is Status.CANCELLED)


def test_a_job_without_any_client_is_cancelled(pair: Pair, sites: tuple[Site, Site], job: Job) -> None:
    sites[1].wait(job)()

    until(lambda: status(pair[0]) is Status.CANCELLED)
    assert rows(pair[0]) == 0


def test_a_job_is_cancelled_when_the_machine_of_its_last_client_has_died(
    pair: Pair, sites: tuple[Site, Site], job: Job
) -> None:
    WaiterStore(pair[1].database).enter(JOB, "a process that dies")
    sites[0].wait(job)()
    until(lambda: rows(pair[0]) == 1)
    time.sleep(3 * LEAVE_SECONDS)
    assert status(pair[0]) is Status.QUEUED

    expire(pair[0])
    until(lambda: status(pair[0]) is Status.CANCELLED)


def test_a_waiting_client_is_renewed_without_a_connection_to_watch(
    pair: Pair, sites: tuple[Site, Site], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presences, "RENEW_SECONDS", 0.1)
    leave = sites[1].wait(job)
    expire(pair[0])

    presence = SharedPresence(WaiterStore(pair[0].database))
    until(lambda: not presence.is_empty(JOB))
    leave()


def test_machines_that_renew_and_remove_rows_at_once_do_not_block_each_other(pair: Pair) -> None:
    stores = [WaiterStore(system.database) for system in (*pair, *pair)]
    jobs = [f"{n:032x}" for n in range(300)]

    def renew(n: int) -> None:
        stores[n].renew(f"process {n}", jobs)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            list(pool.map(renew, range(4)))
            with pair[0].database.write() as db:  # as after an outage of the store
                db.execute(text("UPDATE waiters SET until = until - 100"))
        list(pool.map(renew, range(4)))

    assert rows(pair[0]) == 4 * len(jobs)
