"""Two machines on one store: two boots, two clocks, one database's time."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace

import pytest
from support.patience import until
from support.postgresql import Postgres
from support.stores import EVERYWHERE, ON_POSTGRESQL, change, instant, rows

from registry import Input
from router.jobs import ClaimRequest, Database, EngineStore, JobStore, open_database
from router.runtime import clock
from router.values import Artifact, EngineState, Job, Lease, Phase, Progress, Status, Task, Usage

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)
ANY = ClaimRequest(["m"])
LATER = 1_000_000.0  # seconds for which the second machine has been up longer
Elsewhere = Callable[[], AbstractContextManager[None]]


class Machine:
    """The stores of one machine."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.jobs = JobStore(database, lease_seconds=30, max_attempts=2, max_queued=1000)
        self.engines = EngineStore(database, lease_seconds=30)

    def add(self, number: int = 1) -> Job:
        return self.jobs.add(Job(f"{number:032x}", "me", "m", TASK, created_at=time.time()))

    def claim(self, engine: str) -> Lease:
        found = self.jobs.claim(engine, ANY)
        assert found is not None
        return found[0]


@pytest.fixture
def here(open_store: Callable[[], Database]) -> Machine:
    return Machine(open_store())


@pytest.fixture
def there(open_store: Callable[[], Database]) -> Machine:
    return Machine(open_store())


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Return a block on another machine: its boot, its clocks, an hour slow."""
    uptime, wall = clock.now, time.time

    @contextmanager
    def on_it() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(clock, "boot", lambda: "another")
            patch.setattr(clock, "now", lambda: uptime() + LATER)
            patch.setattr(time, "time", lambda: wall() - 3600)
            yield

    return on_it


@ON_POSTGRESQL
def test_a_lease_of_another_machine_holds(here: Machine, there: Machine, elsewhere: Elsewhere) -> None:
    here.add()
    here.engines.heartbeat(EngineState("e", "here/cpu", 1, ("m",), ()))
    lease = here.claim("e")
    with elsewhere():
        assert there.jobs.expire() == ()
        assert there.jobs.claim("f", ANY) is None
        assert there.jobs.holds(lease)

    assert here.jobs.report(lease, Progress(Phase.STEP, 1, 4, 20))
    with elsewhere():
        assert there.jobs.cancel(lease.job, "me") is not None
        assert there.jobs.expire() == ()  # its engine lives, and books its own work
    here.jobs.book(lease, Usage(2.5))
    assert rows(here.database, "SELECT outcome, gpu_seconds FROM ledger") == [("cancelled", 2.5)]


@ON_POSTGRESQL
def test_an_expired_lease_of_another_machine_is_taken(here: Machine, there: Machine, elsewhere: Elsewhere) -> None:
    here.add()
    lease = here.claim("e")
    change(here.database, "UPDATE jobs SET lease_until = :past", past=instant(here.database).now - 0.001)
    with elsewhere():
        (taken,) = there.jobs.expire()
        assert taken.status is Status.QUEUED
        second = there.claim("f")

    assert here.jobs.finish(lease, VIDEO) is None
    assert here.jobs.expire() == ()
    with elsewhere():
        assert there.jobs.finish(second, VIDEO) is not None


@ON_POSTGRESQL
def test_the_engines_of_all_machines_are_seen_by_age(here: Machine, there: Machine, elsewhere: Elsewhere) -> None:
    here.engines.heartbeat(EngineState("e", "here/cpu", 1, ("m",), ()))
    change(here.database, "UPDATE engines SET seen = seen - 20")
    with elsewhere():
        there.engines.heartbeat(EngineState("f", "there/cpu", 1, ("m",), ()))
        ages = {engine.id: engine.age for engine in there.engines.seen()}
        assert {engine.id for engine in there.engines.alive()} == {"e", "f"}
        there.engines.drain("e", True)

    assert ages["e"] - ages["f"] >= 20
    assert 0 <= ages["f"] < ages["e"]
    assert {engine.id: engine.draining for engine in here.engines.seen()} == {"e": True, "f": False}
    change(here.database, "UPDATE engines SET seen = seen - 11 WHERE id = 'e'")
    with elsewhere():
        assert [engine.id for engine in there.engines.alive()] == ["f"]


@ON_POSTGRESQL
def test_jobs_of_two_machines_run_in_the_order_of_their_arrival(
    here: Machine, there: Machine, elsewhere: Elsewhere
) -> None:
    for number in (1, 3, 5):
        here.add(number)
        with elsewhere():
            there.add(number + 1)

    assert [int(here.claim("e").job, 16) for _ in range(6)] == [1, 2, 3, 4, 5, 6]


@EVERYWHERE
def test_a_new_engine_inherits_by_device_and_lock_domain(here: Machine, there: Machine) -> None:
    state = EngineState("e", "cpu", 1, ("m",), (), lock_domain="one")
    here.engines.heartbeat(state)
    here.engines.heartbeat(replace(state, id="f", lock_domain="two"))
    for number, engine in enumerate("ef"):
        here.add(number)
        here.claim(engine)

    assert there.jobs.inherit("cpu") == there.jobs.inherit("cuda:0", lock_domain="one") == ()
    assert [job.id for job in there.jobs.inherit("cpu", lock_domain="two")] == [f"{1:032x}"]
    assert [job.id for job in there.jobs.inherit("cpu", lock_domain="one")] == [f"{0:032x}"]


@EVERYWHERE
def test_a_commit_of_another_process_is_noticed(here: Machine, there: Machine) -> None:
    number = here.jobs.pulse()
    seen = number()
    there.add()
    until(lambda: number() != seen)

    assert here.jobs.changes(0)[0] == 1


@ON_POSTGRESQL
def test_a_named_lock_outlasts_the_servers_limit_of_idle_transactions(
    postgres: Postgres, store_address: str, there: Machine
) -> None:
    name = store_address.rpartition("/")[2]
    postgres.psql(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '2s'")
    with closing(open_database(store_address)) as database, database.exclusive("a"):
        time.sleep(3)  # longer than that limit
        with there.database.exclusive_if_free("a") as is_free:
            assert not is_free


@EVERYWHERE
def test_a_named_lock_is_held_once(here: Machine, there: Machine) -> None:
    with here.database.exclusive("a"):
        with there.database.exclusive_if_free("a") as is_held:
            assert not is_held
        with there.database.exclusive_if_free("b") as is_held:
            assert is_held
    with there.database.exclusive_if_free("a") as is_held:
        assert is_held
