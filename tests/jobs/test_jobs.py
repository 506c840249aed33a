"""The job store: leases, attempts, the queue, and what the watcher is told."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.stores import EVERYWHERE, change

from registry import Input
from router.errors import QueueFull
from router.jobs import ClaimRequest, Database, EngineStore, JobStore
from router.values import (
    Artifact,
    EngineState,
    Failure,
    Job,
    Lease,
    OutputPart,
    Phase,
    Presentation,
    Progress,
    Status,
    Task,
)

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)
pytestmark = EVERYWHERE


@pytest.fixture
def store(database: Database) -> JobStore:
    return opened(database)


@pytest.fixture
def engines(open_store: Callable[[], Database]) -> EngineStore:
    return EngineStore(open_store(), lease_seconds=30)


def opened(database: Database, lease_seconds: float = 30, max_attempts: int = 2) -> JobStore:
    return JobStore(database, lease_seconds=lease_seconds, max_attempts=max_attempts, max_queued=1000)


def job(n: int = 1, model: str = "m", owner: str = "me") -> Job:
    return Job(f"{n:032x}", owner, model, TASK, created_at=time.time())


def claimed(store: JobStore, engine: str = "e") -> Lease:
    found = store.claim(engine, ClaimRequest(["m"]))
    assert found is not None
    return found[0]


def test_a_job_comes_back_as_it_was_added(store: JobStore) -> None:
    asked = replace(job(), presentation=Presentation(part=OutputPart.TEXT), warnings=("é",), request_id="r")
    added = store.add(asked)

    assert store.get(asked.id, "me") == replace(asked, version=added.version, ahead=0)


def test_another_owner_sees_nothing(store: JobStore) -> None:
    made = store.add(job())

    assert store.get(made.id, "you") is None
    assert store.cancel(made.id, "you") is None
    assert store.delete(made.id, "you") is None


def test_the_oldest_job_is_claimed_first_and_once(store: JobStore) -> None:
    for n in (1, 2):
        store.add(job(n))
    claims = [store.claim("e", ClaimRequest(["m"])) for _ in range(3)]

    assert [claim and claim[1].id for claim in claims] == [job(1).id, job(2).id, None]


def test_only_models_that_the_engine_runs_are_claimed(store: JobStore) -> None:
    store.add(job(model="other"))

    assert store.claim("e", ClaimRequest(["m"])) is None
    assert store.claim("e", ClaimRequest(["m", "other"])) is not None


def test_jobs_ahead_are_counted_while_a_job_waits(store: JobStore) -> None:
    for n in (1, 2, 3):
        store.add(job(n))
    store.claim("e", ClaimRequest(["m"]))

    assert [getattr(store.get(job(n).id, "me"), "ahead", None) for n in (1, 2, 3)] == [None, 0, 1]


def test_an_expired_lease_makes_the_job_claimable_and_the_old_engine_powerless(database: Database) -> None:
    store = opened(database, lease_seconds=0.05)
    made = store.add(job())
    old = claimed(store, "old")
    time.sleep(0.1)
    store.expire()
    new = claimed(store, "new")

    assert (old.attempt, new.attempt) == (1, 2)
    assert store.renew(old) is store.holds(old) is store.report(old, Progress(Phase.STEP, 1, 4, 20)) is False
    assert store.finish(old, VIDEO) is store.fail(old, Failure("x", "y")) is None
    assert store.finish(new, VIDEO) is not None
    assert getattr(store.get(made.id, "me"), "status", None) is Status.COMPLETED


def test_a_renewed_lease_does_not_expire(database: Database) -> None:
    store = opened(database, lease_seconds=600)
    store.add(job())
    lease = claimed(store)
    for _ in range(3):
        change(database, "UPDATE jobs SET lease_until = lease_until - 400")
        assert store.renew(lease)
        store.expire()

    assert store.holds(lease)


def test_a_job_that_lost_every_engine_fails_with_engine_lost(database: Database) -> None:
    store = opened(database, lease_seconds=0.01)
    made = store.add(job())
    for _ in range(2):
        claimed(store)
        time.sleep(0.03)
        failed = store.expire()

    assert [lost.failure and lost.failure.code for lost in failed] == ["engine_lost"]  # and told to the listeners
    assert getattr(store.get(made.id, "me"), "status", None) is Status.FAILED


def test_a_lease_of_an_earlier_boot_has_expired(store: JobStore, database: Database) -> None:
    store.add(job())
    lease = claimed(store)
    change(database, "UPDATE jobs SET lease_boot = 'another'")
    store.expire()

    assert not store.holds(lease)


def test_a_released_job_has_lost_no_engine(database: Database) -> None:
    store = opened(database, lease_seconds=0.01, max_attempts=1)
    store.add(job())
    for attempt in (1, 2, 3):
        lease = claimed(store)
        assert lease.attempt == attempt  # and no attempt ever writes another one's file
        assert store.release(lease) is not None


def test_a_new_engine_of_a_device_inherits_what_the_old_one_left(store: JobStore, engines: EngineStore) -> None:
    store.add(job())
    engines.heartbeat(EngineState("old", "cpu", 1, ("m",), ()))
    lease = claimed(store, "old")
    store.inherit("cpu")
    store.expire()

    assert not store.holds(lease)
    assert claimed(store, "new").attempt == 2


@pytest.mark.parametrize(
    ("hung", "code", "said"),
    [
        (Phase.STEP, "timed_out", "the engine hung in phase step of this job and was replaced; engines lost so: 2,"),
        (None, "engine_lost", "the engine was lost while it ran this job; engines lost so: 2,"),
    ],
)
def test_the_last_failure_says_whether_the_engine_hung(
    store: JobStore, engines: EngineStore, hung: Phase | None, code: str, said: str
) -> None:
    store.add(job())
    engines.heartbeat(EngineState("old", "cpu", 1, ("m",), ()))
    told = []
    for _ in range(2):
        claimed(store, "old")
        told += store.inherit("cpu", hung)

    assert [left.status for left in told] == [Status.QUEUED, Status.FAILED]
    assert told[1].failure is not None
    assert told[1].failure.code == code
    assert told[1].failure.message.startswith(said)
    assert store.inherit("cpu", hung) == ()


def test_jobs_of_a_model_that_is_gone_fail(store: JobStore) -> None:
    made, other = store.add(job(1, model="gone")), store.add(job(2))
    (failed,) = store.strand(["m"])

    assert (failed.id, failed.status) == (made.id, Status.FAILED)
    assert getattr(store.get(other.id, "me"), "status", None) is Status.QUEUED


def test_cancel_and_delete_take_the_lease_away(store: JobStore) -> None:
    for n, end in enumerate((store.cancel, store.delete)):
        made = store.add(job(n))
        lease = claimed(store)
        assert end(made.id, "me") is not None
        assert not store.holds(lease)
        assert store.finish(lease, VIDEO) is None


def test_a_finished_job_cannot_be_cancelled(store: JobStore) -> None:
    made = store.add(job())
    store.finish(claimed(store), VIDEO, ("cut",))

    assert store.cancel(made.id, "me") is None
    found = store.get(made.id, "me")
    assert found is not None
    assert (found.artifact, found.warnings) == (VIDEO, ("cut",))


def test_every_change_is_told_once_also_a_deletion(store: JobStore) -> None:
    since = store.newest()
    made = store.add(job())
    added, told = store.changes(since)
    assert told == {made.id}
    assert store.changes(added) == (added, frozenset())
    store.delete(made.id, "me")

    assert store.changes(added)[1] == {made.id}


def test_jobs_of_a_page_know_their_place_in_the_queue(store: JobStore) -> None:
    for n in range(4):
        store.add(job(n))
    claimed(store)
    page = store.page("me", after=None, limit=9, newest_first=False)

    assert [found.ahead for found in page or ()] == [None, 0, 1, 2]


def test_a_full_queue_refuses_without_writing(database: Database) -> None:
    store = JobStore(database, lease_seconds=1, max_attempts=1, max_queued=1)
    store.add(job())
    before = store.newest()

    with pytest.raises(QueueFull, match="holds 1 jobs, its limit is 1"):
        store.check_limits()
    assert store.newest() == before


def test_an_engine_that_stops_in_good_order_looks_lost_at_once(engines: EngineStore) -> None:
    engines.heartbeat(EngineState("e", "cpu", 1, ("m",), ("m",), "j"))
    (before,) = engines.alive()
    engines.retire("e")

    assert (before.models, before.job, before.age < 5) == (("m",), "j", True)
    assert engines.alive() == ()
    assert [engine.age >= 30 for engine in engines.seen()] == [True]
