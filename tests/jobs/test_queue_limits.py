"""Room in the queue, and when there is some again."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.stores import ON_SQLITE, change

from registry import Input
from router.auth.keys import KeyLimits, Scope, new_key, new_text
from router.errors import HttpError, QueueFull, RateLimited
from router.jobs import ApiKeyStore, ClaimRequest, Database, JobStore, QueueLimits, SchedulingPolicy
from router.values import Job, Phase, Progress, Task

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))


@pytest.fixture
def store(database: Database) -> JobStore:
    return opened(database)


def opened(database: Database, most: int = 1000) -> JobStore:
    return JobStore(database, lease_seconds=30, max_attempts=2, max_queued=most)


def job(n: int, model: str = "m", key: str | None = None) -> Job:
    return Job(f"{n:032x}", "me", model, TASK, created_at=time.time(), key=key)


def refusal(store: JobStore, limits: QueueLimits) -> HttpError:
    with pytest.raises(HttpError) as refused:
        store.check_limits(limits)
    return refused.value


def test_a_model_s_queue_is_full_and_another_s_is_not(store: JobStore) -> None:
    for n in (1, 2):
        store.add(job(n))

    with pytest.raises(QueueFull, match="2 jobs for m are queued, its limit is 2"):
        store.check_limits(QueueLimits("m", of_model=2))
    with pytest.raises(QueueFull):
        store.add(job(3), limits=QueueLimits("m", of_model=2))
    store.check_limits(QueueLimits("m", of_model=3))
    store.check_limits(QueueLimits("other", of_model=1))
    store.check_limits(QueueLimits("m"))


def test_a_key_has_too_much_queued_and_another_has_not(store: JobStore) -> None:
    store.add(job(1, key="fg-a"))

    with pytest.raises(RateLimited, match="1 jobs of this key are queued, its limit is 1"):
        store.check_limits(QueueLimits("m", key="fg-a", of_key=1))
    with pytest.raises(RateLimited):
        store.add(job(2, key="fg-a"), limits=QueueLimits("m", key="fg-a", of_key=1))
    store.check_limits(QueueLimits("m", key="fg-b", of_key=1))


def test_a_job_that_runs_is_not_queued(store: JobStore) -> None:
    store.add(job(1, key="fg-a"))
    store.claim("e", ClaimRequest(["m"]))

    store.check_limits(QueueLimits("m", of_model=1, key="fg-a", of_key=1))


def test_a_refused_job_leaves_nothing(database: Database) -> None:
    store = opened(database, most=1)
    store.add(job(1))

    for limits in (QueueLimits(), QueueLimits("m", of_model=1), QueueLimits(key="fg-a", of_key=1)):
        refusal(store, limits)
    with pytest.raises(QueueFull):
        store.add(job(2))
    assert store.get(job(2).id, "me") is None
    assert store.newest() == 1


@ON_SQLITE
def test_a_refusal_writes_nothing(database: Database, tmp_path: Path) -> None:
    store = opened(database, most=1)
    store.add(job(1))
    before = (tmp_path / "jobs.sqlite-wal").stat().st_size

    for limits in (QueueLimits(), QueueLimits("m", of_model=1), QueueLimits(key="fg-a", of_key=1)):
        refusal(store, limits)
    assert (tmp_path / "jobs.sqlite-wal").stat().st_size == before


def test_the_time_to_wait_is_what_the_running_job_has_left(store: JobStore, database: Database) -> None:
    store.add(job(1))
    store.add(job(2))
    found = store.claim("e", ClaimRequest(["m"]))
    assert found is not None
    assert refusal(store, QueueLimits("m", of_model=1)).headers == (
        ("retry-after", "10"),
    )  # it has not begun its steps

    store.report(found[0], Progress(Phase.STEP, 3, 4, 75))
    change(database, "UPDATE jobs SET started_at = :at WHERE seq = 1", at=time.time() - 60)
    ((name, seconds),) = refusal(store, QueueLimits("m", of_model=1)).headers

    assert (name, 19 <= int(seconds) <= 22) == ("retry-after", True)


def test_jobs_that_come_before_the_refused_one_s_take_their_time_too(store: JobStore, database: Database) -> None:
    for n in range(1, 4):
        store.add(job(n))
    store.add(job(4, model="rare"))
    found = store.claim("e", ClaimRequest(["m"]))
    assert found is not None
    store.report(found[0], Progress(Phase.STEP, 1, 2, 50))
    change(database, "UPDATE jobs SET started_at = :at WHERE seq = 1", at=time.time() - 5)

    assert 4 <= int(refusal(store, QueueLimits("m", of_model=1)).headers[0][1]) <= 7  # half of ten seconds
    assert (
        24 <= int(refusal(store, QueueLimits("rare", of_model=1)).headers[0][1]) <= 28
    )  # and two whole jobs before it


def test_nobody_is_told_to_wait_for_longer_than_a_minute(store: JobStore, database: Database) -> None:
    store.add(job(1))
    store.add(job(2))
    found = store.claim("e", ClaimRequest(["m"]))
    assert found is not None
    store.report(found[0], Progress(Phase.STEP, 1, 100, 1))
    change(database, "UPDATE jobs SET started_at = started_at - 1000 WHERE seq = 1")

    assert refusal(store, QueueLimits("m", of_model=1)).headers == (("retry-after", "60"),)


def test_a_key_with_as_much_running_as_it_may_waits(database: Database) -> None:
    store, keys = opened(database), ApiKeyStore(database)
    one, two = (new_key(new_text(), name, name, [Scope.READ]) for name in "ab")
    keys.add(replace(one, limits=KeyLimits(running=1)))
    keys.add(two)
    for n, key in enumerate((one.id, two.id, None, one.id, two.id, None)):
        store.add(job(n, key=key))

    def ready(default: int | None) -> list[str]:
        """Return the owners of the jobs that an engine would run, in order."""
        rules, found = SchedulingPolicy(key_running=default), []
        some = JobStore(database, lease_seconds=30, max_attempts=2, max_queued=1000, policy=rules)
        while claim := some.claim("e", ClaimRequest(["m"])):
            found.append(claim)
        for lease, _ in found:
            some.release(lease)
        return [job.id[-1] for _, job in found]

    assert ready(None) == ["0", "1", "2", "4", "5"]
    assert ready(1) == ["0", "1", "2", "5"]
    assert ready(2) == ["0", "1", "2", "4", "5"]
