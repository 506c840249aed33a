"""Finished jobs for retention, and the sums of all owners' jobs."""

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.stores import change, rows

from registry import Input
from router.jobs import Archive, ClaimRequest, Database, JobStore, Overview
from router.jobs.archive import BATCH
from router.jobs.overview import HOUR, Hour, ModelQueue
from router.jobs.rows import job_row
from router.jobs.tables import jobs
from router.values import Artifact, Failure, Job, Status, Task, Usage

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 2**33, 64, 64, 5, 8)
ANY = ClaimRequest(["m"])


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, lease_seconds=30, max_attempts=2, max_queued=10_000)


@pytest.fixture
def archive(database: Database) -> Archive:
    return Archive(database)


@pytest.fixture
def overview(database: Database) -> Overview:
    return Overview(database)


def job(number: int, model: str = "m", estimate: float | None = None) -> Job:
    return Job(f"{number:032x}", "me", model, TASK, created_at=time.time(), estimate=estimate)


def end(store: JobStore, number: int, status: Status, seconds: float = 0.0) -> str:
    """Add a job and end it after some seconds of work."""
    added = store.add(job(number))
    if status is Status.CANCELLED:
        store.cancel(added.id, None)
        return added.id
    claim = store.claim("e", ANY)
    assert claim is not None
    if status is Status.COMPLETED:
        store.finish(claim[0], VIDEO, (), Usage(seconds))
    else:
        store.fail(claim[0], Failure("x", "y"), Usage(seconds))
    return added.id


def ended_at(database: Database, times: Sequence[float]) -> None:
    """Let the jobs have ended at these times, in order of their addition."""
    for (seq,), at in zip(rows(database, "SELECT seq FROM jobs ORDER BY seq"), times, strict=True):
        change(database, "UPDATE jobs SET finished_at = :at WHERE seq = :seq", at=at, seq=seq)


def test_old_jobs_come_oldest_first_and_unfinished_ones_never(
    store: JobStore, archive: Archive, database: Database
) -> None:
    ids = [end(store, n, status) for n, status in enumerate((Status.COMPLETED, Status.FAILED, Status.CANCELLED))]
    ended_at(database, [30.0, 10.0, 20.0])
    store.add(job(9))

    assert archive.finished_before(30.0) == (ids[1], ids[2])
    assert archive.finished_before(31.0) == (ids[1], ids[2], ids[0])
    assert archive.outputs_before(31.0) == {ids[0]: ("1.mp4", 2**33), ids[1]: None, ids[2]: None}
    assert [archive.has_ended(each) for each in (*ids, job(9).id, "none")] == [True, True, True, False, False]


def test_a_forgotten_job_keeps_its_place_in_pages_and_another_is_not_forgotten(
    store: JobStore, archive: Archive
) -> None:
    ids = [end(store, n, Status.CANCELLED) for n in range(3)]
    store.add(job(9))
    before = store.newest()

    assert [archive.forget(each) for each in (ids[1], ids[1], job(9).id, "none")] == [True, False, False, False]
    assert store.changes(before) == (before + 1, frozenset({ids[1]}))
    page = store.page("me", after=ids[1], limit=9, newest_first=False)
    assert [each.id for each in page or ()] == [ids[2], job(9).id]


def test_more_jobs_than_a_batch_are_known(archive: Archive, database: Database) -> None:
    there = [job(number) for number in range(2 * BATCH + 1)]
    values = [{**job_row(each), "version": 1, "lost": 0, "finished_at": 1.0} for each in there]
    with database.write() as db:
        db.execute(jobs.insert(), values)

    assert archive.known([each.id for each in there] + ["none"]) == {each.id for each in there}
    assert archive.known([]) == frozenset()
    assert len(archive.finished_before(2.0)) == BATCH


def test_the_queue_is_counted_by_model(store: JobStore, overview: Overview, database: Database) -> None:
    assert overview.queue() == ()
    for number, (model, estimate) in enumerate([("m", 2.0), ("m", 3.5), ("m", 4.0), ("b", None), ("b", 1.0)]):
        store.add(job(number, model, estimate))
    end(store, 9, Status.CANCELLED)
    change(database, "UPDATE jobs SET created_at = created_at - 100")
    claim = store.claim("e", ANY)
    assert claim is not None
    of_b, of_m = overview.queue()

    assert replace(of_b, oldest=0) == ModelQueue("b", 2, 0, None, 0)
    assert replace(of_m, oldest=0) == ModelQueue("m", 2, 1, 9.5 - (claim[1].estimate or 0), 0)
    assert all(100 <= (queue.oldest or 0) < 160 for queue in (of_b, of_m))


def test_the_work_of_the_last_hours_is_summed(
    store: JobStore, overview: Overview, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 500_000 * HOUR + 1800.0
    for number, (status, seconds) in enumerate(
        [
            (Status.COMPLETED, 2.5),
            (Status.FAILED, 1.5),
            (Status.CANCELLED, 0),
            (Status.COMPLETED, 4.0),
            (Status.FAILED, 9),
        ]
    ):
        end(store, number, status, seconds)
    ended_at(database, [now, now - 1, now - 1800, now - 1801, now - 3 * HOUR])
    monkeypatch.setattr(time, "time", lambda: now)
    this = 500_000 * HOUR

    assert overview.hours(2) == (Hour(this - HOUR, 1, 0, 0, 4.0), Hour(this, 1, 1, 1, 4.0))
    assert overview.hours(1) == (Hour(this, 1, 1, 1, 4.0),)


def test_failed_jobs_come_last_to_end_first_page_by_page(
    store: JobStore, overview: Overview, database: Database
) -> None:
    ids = [end(store, number, Status.FAILED) for number in range(4)]
    completed = end(store, 9, Status.COMPLETED)
    ended_at(database, [20.0, 30.0, 20.0, 10.0, 40.0])

    assert [each.id for each in overview.failed(None, 9) or ()] == [ids[1], ids[2], ids[0], ids[3]]
    assert [each.id for each in overview.failed(ids[2], 1) or ()] == [ids[0]]
    assert overview.failed(ids[3], 9) == ()
    assert overview.failed(completed, 9) is overview.failed("none", 9) is None
