"""Threads log their errors and go on."""

import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from conftest import MODELS
from support.patience import PATIENCE, until

from router import Job, hookimpl
from router.engine import encoder
from router.engine.lease_keeper import LeaseKeeper
from router.jobs import ClaimRequest, JobStore, open_database
from router.runtime.threads import log_and_go_on
from router.settings import Settings
from router.system import System, assemble
from router.values import EngineState, Failure, Lease, Presentation, Status, Task
from router.web.waiting.disconnects import DisconnectMonitor
from router.web.waiting.waiters import Waiters

ERRORS = [sqlite3.OperationalError("disk I/O error"), RuntimeError("out of luck"), SystemExit(3)]
TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset())


class Failing:
    """A store with a method that raises a few times before it works."""

    def __init__(self, store: JobStore, method: str, errors: list[BaseException]) -> None:
        self._store, self._method, self._errors = store, method, list(errors)

    def __getattr__(self, name: str) -> Any:
        if name == self._method and self._errors:
            raise self._errors.pop(0)
        return getattr(self._store, name)


def queued(system: System, n: int = 1) -> Job:
    return system.jobs.add(
        Job(f"{n:032x}", "local", "text", TASK, presentation=Presentation(attended=True), created_at=time.time())
    )


def claimed(system: System, n: int = 1) -> Lease:
    found = system.jobs.claim("e", ClaimRequest(["text"]), f"{n:032x}")
    assert found is not None
    return found[0]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_what_a_thread_raises_is_logged(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    with log_and_go_on("the test", rest=0):
        raise error

    assert "the test failed and goes on" in caplog.text
    assert str(error) in caplog.text


@pytest.mark.parametrize("method", ["pulse", "changes"])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_waiting_requests_are_woken_by_a_watcher_that_failed(system: System, method: str, error: BaseException) -> None:
    store: Any = Failing(system.jobs, method, [error])
    waiting = Waiters(store, DisconnectMonitor(system, seconds=1), limit=10, seconds=60)
    job = queued(system)
    with waiting.watch(job, None) as watch:
        time.sleep(0.1)
        system.jobs.cancel(job.id, None)
        assert watch.ended(PATIENCE)  # it looks at its job when it is woken

    assert watch.job.status is Status.CANCELLED


@pytest.mark.parametrize("error", ERRORS[1:], ids=repr)
def test_disconnects_are_noticed_by_a_watcher_that_failed(system: System, error: BaseException) -> None:
    failing: Any = Failing(system.jobs, "cancel", [error])
    leaving = DisconnectMonitor(replace(system, jobs=failing), seconds=0.05)
    waiting = Waiters(system.jobs, leaving, limit=10, seconds=60)
    first, second = queued(system, 1), queued(system, 2)
    for job in (first, second):
        ours, theirs = socket.socketpair()
        with theirs, waiting.watch(job, theirs) as watch:
            ours.close()
            until(lambda watch=watch: watch.ended(0.1))
        assert watch.left

    until(lambda: (now := system.jobs.get(second.id, None)) and now.status is Status.CANCELLED)


class Deaf:
    """A listener that raises `SystemExit` the first few times."""

    def __init__(self, errors: list[BaseException]) -> None:
        self.errors = list(errors)

    @hookimpl
    def job_changed(self, job: Job) -> None:
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def deaf(tmp_path: Path) -> tuple[System, Deaf]:
    (tmp_path / "models.yaml").write_text(MODELS)
    listener = Deaf([SystemExit(3), SystemExit(3)])
    settings = Settings(data=tmp_path / "data", models=tmp_path / "models.yaml", renew_seconds=0.05, lease_seconds=0.2)
    return assemble(settings, plugins=[encoder, listener]), listener


@pytest.fixture
def keeper(system: System) -> Iterator[LeaseKeeper]:
    lost: list[int] = []
    made = LeaseKeeper(system, lambda: EngineState("e", "cpu", 1, (), (), None), lost=lambda: lost.append(1))
    made.lost = lost  # type: ignore[attr-defined]
    yield made
    made.gone()
    made.stop()
    made._thread.join(10)


def test_a_lease_keeper_that_failed_goes_on_with_its_heartbeats(deaf: tuple[System, Deaf]) -> None:
    system, listener = deaf
    queued(system)
    claimed(system)  # by an engine that is never heard of again
    keeper = LeaseKeeper(system, lambda: EngineState("k", "cpu", 1, (), (), None))
    keeper.start()
    until(lambda: len(listener.errors) < 2)
    until(lambda: (job := system.jobs.get(f"{1:032x}", None)) and job.status is Status.QUEUED)
    system.engines.retire("k")
    until(lambda: "k" in {engine.id for engine in system.engines.alive()})
    keeper.gone()
    keeper.stop()
    keeper._thread.join(10)

    assert not keeper._thread.is_alive()


def test_after_a_sleep_of_the_machine_other_engines_have_time_to_renew_their_leases(
    deaf: tuple[System, Deaf],
) -> None:
    system, listener = deaf
    listener.errors.clear()
    queued(system)
    claimed(system)
    time.sleep(2 * system.settings.lease_seconds)
    instants = iter([0.0, 3600.0])
    keeper = LeaseKeeper(system, lambda: EngineState("k", "cpu", 1, (), (), None), now=lambda: next(instants))
    keeper._rest()
    found = []
    for _ in range(3):
        keeper._keep()
        job = system.jobs.get(f"{1:032x}", None)
        found.append(job and job.status)

    assert found == [Status.IN_PROGRESS, Status.IN_PROGRESS, Status.QUEUED]


@pytest.mark.parametrize("end", ["cancelled", "deleted", "leased to another"])
def test_a_job_that_is_not_the_engines_any_more_is_told(system: System, keeper: LeaseKeeper, end: str) -> None:
    job = queued(system)
    lease = claimed(system)
    keeper.hold(lease)
    keeper.start()
    time.sleep(0.5)
    assert keeper.lost == []  # type: ignore[attr-defined]
    if end == "cancelled":
        system.jobs.cancel(job.id, None)
    elif end == "deleted":
        system.jobs.delete(job.id, None)
    else:
        system.jobs.release(lease)

    until(lambda: keeper.lost == [1])  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", ["generation_failed", "out_of_memory"])
def test_a_job_that_the_engine_has_ended_is_no_lost_one(system: System, keeper: LeaseKeeper, code: str) -> None:
    queued(system)
    lease = claimed(system)
    keeper.hold(lease)
    system.jobs.fail(lease, Failure(code, "no"))
    keeper.start()
    until(lambda: keeper._lease is None)

    assert keeper.lost == []  # type: ignore[attr-defined]


def test_a_pulse_of_a_store_that_cannot_be_read_is_a_change_and_no_error(tmp_path: Path) -> None:
    database = open_database(tmp_path / "there" / "jobs.sqlite")
    pulse = database.pulse()
    assert pulse() == pulse()
    unread = database.__class__.pulse(database)
    (tmp_path / "there").rename(tmp_path / "gone")
    seen = [unread() for _ in range(3)]
    (tmp_path / "gone").rename(tmp_path / "there")

    assert len(set(seen)) == 3
    assert unread() == unread()
    assert unread() not in seen


def test_an_error_in_a_thread_of_a_pulse_ends_nothing(system: System) -> None:
    """A file in another format is as bad as a missing one."""
    path = system.settings.data / "other.sqlite"
    database = open_database(path)
    database.close()
    for each in path.parent.glob("other.sqlite*"):
        each.write_bytes(b"this is no store, and too long for an empty one" * 100)
    pulse, seen = database.pulse(), []
    thread = Thread(target=lambda: seen.extend(pulse() for _ in range(3)))
    thread.start()
    thread.join(10)

    assert len(set(seen)) == 3
