"""Attempts: each is booked in the ledger once, however it ends."""

import time
from collections import Counter
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from support.stores import ON_SQLITE, change, instant, rows, statements

from registry import Input
from router.accounting.ledger_rows import LOAD, LedgerRow
from router.jobs import ClaimRequest, Database, EngineStore, JobStore, Ledger, open_database
from router.jobs.backup import back_up
from router.jobs.database import upgrade
from router.jobs.idempotency import Key
from router.values import Artifact, EngineState, Failure, Job, Lease, Outcome, Phase, Progress, Status, Task, Usage

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)
USED = Usage(2.5, 4, 5, 5 * 64 * 64)
PRICED = replace(USED, cost=5.0)
FAILURE = Failure("out_of_memory", "it did not fit")
JOB = Job("1" * 32, "anna", "m", TASK, key="fg-12345678", price=2.0, estimate=3.0)
ALWAYS = ("0000-01-01", "9999-12-31")


class Books:
    """A store, its ledger and its engines."""

    def __init__(self, database: Database, max_attempts: int = 2) -> None:
        self.database = database
        self.store = JobStore(database, lease_seconds=30, max_attempts=max_attempts, max_queued=1000)
        self.engines = EngineStore(database, lease_seconds=30)
        self.ledger = Ledger(database)

    def begun(self, job: Job = JOB, engine: str = "e", *, add: bool = True) -> Lease:
        """Return the lease of a job that an engine has claimed."""
        if add:
            self.store.add(job)
        found = self.store.claim(engine, ClaimRequest([job.model]))
        assert found is not None
        return found[0]

    def beat(self, job: Job | None = JOB, engine: str = "e") -> None:
        self.engines.heartbeat(EngineState(engine, "cpu", 1, ("m",), (), job and job.id))

    def write(self, statement: str, **values: object) -> None:
        change(self.database, statement, **values)

    def now(self) -> float:
        return instant(self.database).now

    def worked(self, seconds: float, until: float = 0.0, engine_seen: float | None = None) -> None:
        """Let all attempts have worked for `seconds`, up to `until` seconds ago."""
        end = self.now() - until
        worked = "UPDATE attempts SET claimed_at = :began, began = :began, reported_at = :end"
        self.write(worked, began=end - seconds, end=end)
        if engine_seen is not None:
            self.write("UPDATE engines SET seen = :seen", seen=self.now() - engine_seen)

    @property
    def open(self) -> int:
        return int(rows(self.database, "SELECT count(*) FROM attempts")[0][0])

    @property
    def rows(self) -> list[tuple[str, int, Usage]]:
        return [(row.outcome, row.attempts, row.used) for row in self.ledger.rows(*ALWAYS)]

    def usage(self, job: Job = JOB) -> Usage | None:
        found = self.store.get(job.id, None)
        assert found is not None
        return found.usage


@pytest.fixture
def books(database: Database) -> Books:
    return Books(database)


def test_a_completed_job_is_booked_under_its_owner_key_and_model(books: Books) -> None:
    done = books.store.finish(books.begun(), VIDEO, (), USED)

    (row,) = books.ledger.rows(*ALWAYS)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert row == LedgerRow(today, "anna", "fg-12345678", "m", Outcome.COMPLETED, 1, PRICED)
    assert done is not None
    assert done.usage == books.usage() == PRICED
    assert books.open == 0


def test_a_failed_job_is_booked_with_what_it_used(books: Books) -> None:
    failed = books.store.fail(books.begun(), FAILURE, USED)

    assert failed is not None
    assert failed.usage == PRICED
    assert books.rows == [("failed", 1, PRICED)]


def test_work_of_a_model_without_a_price_costs_nothing(books: Books) -> None:
    books.store.finish(books.begun(replace(JOB, price=None)), VIDEO, (), USED)

    assert books.rows == [("completed", 1, USED)]
    assert books.usage() == USED


def test_work_without_a_key_is_booked_without_one(books: Books) -> None:
    books.store.finish(books.begun(replace(JOB, key=None)), VIDEO, (), USED)

    assert [row.key for row in books.ledger.rows(*ALWAYS)] == [""]


def test_a_cancelled_job_is_booked_when_its_engine_ends(books: Books) -> None:
    lease = books.begun()
    cancelled = books.store.cancel(JOB.id, "anna")
    assert cancelled is not None
    assert (cancelled.usage, books.rows) == (None, [])
    before = books.store.newest()
    books.store.book(lease, USED)

    assert books.usage() == PRICED
    assert books.rows == [("cancelled", 1, PRICED)]
    assert books.store.newest() == before  # the job has not changed again


def test_a_queued_job_that_is_cancelled_used_nothing(books: Books) -> None:
    books.store.add(JOB)
    cancelled = books.store.cancel(JOB.id, "anna")

    assert cancelled is not None
    assert cancelled.usage == Usage()
    assert books.rows == []


def test_a_queued_job_whose_model_is_gone_used_nothing(books: Books) -> None:
    books.store.add(JOB)
    (failed,) = books.store.strand([])

    assert failed.usage == Usage()
    assert books.rows == []


def test_the_work_of_a_job_deleted_while_it_ran_is_booked(books: Books) -> None:
    lease = books.begun()
    books.store.delete(JOB.id, "anna")
    books.store.book(lease, USED)

    assert books.rows == [("cancelled", 1, PRICED)]
    assert books.open == 0


@pytest.mark.parametrize("end", ["finish", "fail"])
@pytest.mark.parametrize("stop", ["cancel", "delete"])
def test_work_that_ends_after_a_cancellation_is_booked_as_cancelled(books: Books, stop: str, end: str) -> None:
    lease = books.begun()
    getattr(books.store, stop)(JOB.id, "anna")
    ended = books.store.finish(lease, VIDEO, (), USED) if end == "finish" else books.store.fail(lease, FAILURE, USED)
    books.store.book(lease, USED)

    assert ended is None
    assert books.rows == [("cancelled", 1, PRICED)]
    if stop == "cancel":
        assert books.usage() == PRICED


def test_a_cancellation_after_the_end_books_nothing(books: Books) -> None:
    lease = books.begun()
    books.store.finish(lease, VIDEO, (), USED)

    assert books.store.cancel(JOB.id, "anna") is None
    books.store.book(lease, Usage(99.0))
    assert books.rows == [("completed", 1, PRICED)]
    assert books.usage() == PRICED


def test_a_held_lease_books_nothing(books: Books) -> None:
    lease = books.begun()
    books.store.book(lease, USED)

    assert (books.rows, books.open) == ([], 1)
    assert books.store.finish(lease, VIDEO, (), USED) is not None


def test_a_released_job_costs_nothing_until_it_is_run_again(books: Books) -> None:
    first = books.begun()
    books.worked(7)
    books.store.release(first)
    books.store.book(first, USED)
    books.store.release(first)
    second = books.begun(add=False)
    books.store.finish(second, VIDEO, (), USED)

    completed, lost = books.rows
    assert completed == ("completed", 1, PRICED)
    assert lost[:2] == ("lost", 1)
    assert lost[2].gpu_seconds == pytest.approx(7)
    assert lost[2].cost == pytest.approx(2 * lost[2].gpu_seconds)
    assert books.usage() == PRICED


def lapsed(books: Books, ran: float) -> None:
    """Let all leases be lapsed after `ran` seconds of reported work."""
    books.worked(ran, until=80)
    books.write("UPDATE jobs SET lease_until = :until WHERE status = 'in_progress'", until=books.now() - 1)


def test_a_lost_attempt_is_measured_up_to_its_last_report(books: Books) -> None:
    lease = books.begun()
    lapsed(books, ran=7)
    books.store.expire()
    books.store.expire()
    books.store.book(lease, USED)  # that engine has come to life again

    ((outcome, attempts, used),) = books.rows
    assert (outcome, attempts, used.gpu_seconds) == ("lost", 1, pytest.approx(7))
    assert (used.steps, used.frames) == (0, 0)


def test_a_job_lost_for_good_has_used_nothing(database: Database) -> None:
    books = Books(database, max_attempts=1)
    books.begun()
    lapsed(books, ran=7)
    (failed,) = books.store.expire()

    assert (failed.status, failed.usage) == (Status.FAILED, Usage())
    assert [outcome for outcome, _, _ in books.rows] == ["lost"]


def test_an_attempt_of_an_engine_that_died_at_once_lost_no_seconds(books: Books) -> None:
    books.begun()
    books.write("UPDATE jobs SET lease_boot = 'another', lease_until = 1")
    books.write("UPDATE attempts SET boot = 'another', claimed_at = 99")
    books.store.expire()

    assert books.rows == [("lost", 1, Usage())]


def test_an_attempt_lost_while_its_model_loads_has_done_no_work(books: Books) -> None:
    lease = books.begun()
    books.write("UPDATE attempts SET claimed_at = :at", at=books.now() - 50)
    books.store.report(lease, Progress(Phase.LOAD, 0, 1, 0))
    books.store.release(lease)

    assert books.rows == [("lost", 1, Usage())]


def test_a_job_cancelled_while_its_model_loads_costs_nothing_if_its_engine_dies(books: Books) -> None:
    books.beat()
    books.begun()
    books.write("UPDATE attempts SET claimed_at = :at", at=books.now() - 50)
    books.write("UPDATE engines SET seen = :seen", seen=books.now() - 40)
    books.store.cancel(JOB.id, "anna")
    books.store.expire()

    assert books.rows == [("cancelled", 1, Usage())]


def test_work_lasts_from_its_first_report_to_its_last(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    lease, now = books.begun(), instant(books.database)
    for n, phase in enumerate([Phase.DOWNLOAD, Phase.LOAD, Phase.LOAD, Phase.STEP, Phase.STEP, Phase.DECODE]):
        monkeypatch.setattr(books.database, "instant", lambda db, n=n: now.before(-(n**2)))
        books.store.report(lease, Progress(phase, 0, 4, 0))
    monkeypatch.setattr(books.database, "instant", lambda db: now.before(-100))
    books.store.release(lease)

    ((outcome, _, used),) = books.rows
    assert (outcome, used.gpu_seconds) == ("lost", pytest.approx(25 - 9))


def test_a_report_without_the_lease_begins_nothing(books: Books) -> None:
    lease = books.begun()
    books.store.report(replace(lease, engine="another"), Progress(Phase.STEP, 0, 4, 0))
    books.store.release(lease)

    assert books.rows == [("lost", 1, Usage())]


def test_what_a_device_inherits_is_lost(books: Books) -> None:
    books.beat()
    lease = books.begun()
    books.worked(90, until=10)
    books.write("UPDATE jobs SET lease_until = :until", until=books.now() + 20)  # still held: renewed ten seconds ago
    (taken,) = books.store.inherit("cpu")

    assert taken.status is Status.QUEUED
    assert books.store.inherit("cpu") == books.store.expire() == ()
    ((outcome, attempts, used),) = books.rows
    assert (outcome, attempts, used.gpu_seconds) == ("lost", 1, pytest.approx(90))
    assert books.store.finish(lease, VIDEO, (), USED) is None


def test_a_lease_renewed_since_it_was_seen_lapsed_is_not_taken(books: Books) -> None:
    lease = books.begun()
    lapsed(books, ran=7)

    class Slow(JobStore):
        def _take_back(self, lost, hung=None):  # type: ignore[no-untyped-def]
            assert books.store.renew(lease)
            return super()._take_back(lost, hung)

    slow = Slow(books.database, lease_seconds=30, max_attempts=2, max_queued=9)
    assert slow.expire() == ()
    assert books.store.holds(lease)
    assert books.rows == []


def test_a_cancelled_job_whose_engine_died_costs_what_it_reported(books: Books) -> None:
    books.beat()
    lease = books.begun()
    books.store.cancel(JOB.id, "anna")
    books.worked(10, until=60, engine_seen=40)  # it hung for 20 seconds
    books.store.expire()
    books.store.expire()
    books.store.book(lease, USED)

    ((outcome, attempts, used),) = books.rows
    assert (outcome, attempts, used.gpu_seconds) == ("cancelled", 1, pytest.approx(10))
    assert used.cost == pytest.approx(2 * used.gpu_seconds)
    assert books.usage() == used


def test_a_cancelled_job_of_an_unknown_engine_costs_nothing(books: Books) -> None:
    books.begun()
    books.store.delete(JOB.id, "anna")
    books.store.expire()

    assert books.rows == [("cancelled", 1, Usage())]
    assert books.open == 0


@pytest.mark.parametrize("job", [JOB, None], ids=["it works on it", "its heartbeat is older"])
def test_a_living_engine_books_its_own(books: Books, job: Job | None) -> None:
    books.beat(job)
    lease = books.begun()
    books.store.cancel(JOB.id, "anna")
    books.store.expire()
    assert books.rows == []
    books.store.book(lease, USED)

    assert books.rows == [("cancelled", 1, PRICED)]


def test_an_engine_that_went_on_without_booking_is_booked(books: Books) -> None:
    books.begun()
    books.store.cancel(JOB.id, "anna")
    books.beat(None)
    books.worked(40, until=10, engine_seen=10)
    books.store.expire()

    assert [(outcome, used.gpu_seconds) for outcome, _, used in books.rows] == [("cancelled", pytest.approx(40))]


def test_a_cancelled_job_costs_what_it_reported_after_a_reboot_too(books: Books) -> None:
    books.beat()
    books.begun()
    books.worked(40, until=10)
    books.store.cancel(JOB.id, "anna")
    books.write("UPDATE attempts SET boot = 'another'")
    books.write("DELETE FROM engines")
    books.store.expire()

    assert [(outcome, used.gpu_seconds) for outcome, _, used in books.rows] == [("cancelled", pytest.approx(40))]


def test_an_engine_that_retires_before_it_books_takes_nothing_off(books: Books) -> None:
    books.beat()
    books.begun()
    books.worked(40)
    books.store.cancel(JOB.id, "anna")
    books.engines.retire("e")
    books.store.expire()

    assert [(outcome, used.gpu_seconds) for outcome, _, used in books.rows] == [("cancelled", pytest.approx(40))]


def test_a_repeated_request_is_one_job_in_the_ledger(books: Books) -> None:
    for n in range(3):
        books.store.add(replace(JOB, id=f"{n}" * 32), Key("k", "same"))
    books.store.finish(books.begun(add=False), VIDEO, (), USED)

    assert books.store.claim("e", ClaimRequest(["m"])) is None
    assert books.rows == [("completed", 1, PRICED)]


def test_the_day_is_that_of_the_end(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    midnight = 1_790_812_800.0  # 2026-10-01 00:00 UTC
    for n, end in enumerate((midnight - 1, midnight, midnight + 86_399)):
        lease = books.begun(replace(JOB, id=f"{n}" * 32))
        monkeypatch.setattr(time, "time", lambda end=end: end)
        books.store.finish(lease, VIDEO, (), USED)
        monkeypatch.undo()

    assert [(row.day, row.attempts) for row in books.ledger.rows(*ALWAYS)] == [("2026-10-01", 2), ("2026-09-30", 1)]
    assert books.ledger.rows("2026-09-30", "2026-09-30")[0].attempts == 1
    assert books.ledger.rows("2026-10-02", "2026-10-03") == ()


def test_rows_are_those_of_an_owner_a_key_or_a_model(books: Books) -> None:
    jobs = [
        replace(JOB, id=f"{n}" * 32, owner=owner, key=key, model=model)
        for n, (owner, key, model) in enumerate([("anna", "k1", "m"), ("anna", "k2", "n"), ("ben", "k3", "m")])
    ]
    for job in jobs:
        books.store.finish(books.begun(job), VIDEO, (), USED)

    def keys(**only: str) -> list[str]:
        return [row.key for row in books.ledger.rows(*ALWAYS, **only)]

    assert keys() == ["k1", "k2", "k3"]
    assert keys(owner="anna") == ["k1", "k2"]
    assert keys(model="m") == ["k1", "k3"]
    assert keys(key="k2") == ["k2"]
    assert keys(owner="ben", model="n") == []


def test_loads_are_the_servers(books: Books) -> None:
    books.ledger.add_load("m", 3.0)
    books.ledger.add_load("m", 4.0)

    (row,) = books.ledger.rows(*ALWAYS)
    assert (row.owner, row.key, row.outcome, row.attempts, row.used) == ("", "", LOAD, 2, Usage(7.0))
    assert books.ledger.gpu_seconds() == {("m", LOAD): 7.0}


def test_the_ledger_outlives_its_jobs(books: Books) -> None:
    books.store.finish(books.begun(), VIDEO, (), USED)
    books.store.delete(JOB.id, "anna")

    assert books.rows == [("completed", 1, PRICED)]


@ON_SQLITE
def test_the_ledger_is_in_a_backup(books: Books, tmp_path: Path) -> None:
    books.store.finish(books.begun(), VIDEO, (), USED)
    back_up(tmp_path / "jobs.sqlite", tmp_path / "copy.sqlite", replace=False)

    assert Books(open_database(tmp_path / "copy.sqlite")).rows == books.rows == [("completed", 1, PRICED)]


def test_a_claim_of_one_job_begins_an_attempt(books: Books) -> None:
    books.store.add(JOB)
    found = books.store.claim("e", ClaimRequest(["m"]), only=JOB.id)

    assert found is not None
    assert books.open == 1


def test_a_job_that_was_running_before_the_ledger_ends_as_any_other(books: Books) -> None:
    lease = books.begun()
    books.write("DELETE FROM attempts")  # its engine was of an older version
    done = books.store.finish(lease, VIDEO, (), USED)

    assert done is not None
    assert done.usage == USED
    assert books.rows == []


def test_a_store_without_a_ledger_gets_an_empty_one(tmp_path: Path) -> None:
    with create_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}").begin() as connection:
        upgrade(connection, "0010")
    books = Books(open_database(tmp_path / "jobs.sqlite"))
    assert books.rows == []
    books.store.finish(books.begun(), VIDEO, (), USED)

    assert books.rows == [("completed", 1, PRICED)]


def test_the_books_add_one_statement_to_a_claim_and_two_to_an_end(books: Books) -> None:
    with statements() as begins:
        lease = books.begun()
    with statements() as ends:
        books.store.finish(lease, VIDEO, (), USED)
    with statements() as sweep:
        books.store.expire()

    assert [statement.split()[:3] for statement in begins if "attempts" in statement] == [
        ["INSERT", "INTO", "attempts"]
    ]
    assert [statement.split()[0] for statement in ends] == ["DELETE", "UPDATE", "INSERT", "INSERT"]
    assert len(sweep) == 2


def _finish_all(address: Path | str, leases: list[Lease]) -> None:
    store = Books(open_database(address)).store
    for lease in leases:
        if store.finish(lease, VIDEO, (), USED) is None:
            store.book(lease, USED)


def _cancel_all(address: Path | str, leases: list[Lease]) -> None:
    store = Books(open_database(address)).store
    for lease in reversed(leases):
        store.cancel(lease.job, "anna")


@pytest.mark.slow
def test_jobs_finished_and_cancelled_at_once_are_booked_as_they_ended(books: Books, store_address: Path | str) -> None:
    leases = [books.begun(replace(JOB, id=f"{n:032x}")) for n in range(40)]
    spawn = get_context("spawn")
    racers = [spawn.Process(target=race, args=[store_address, leases]) for race in (_finish_all, _cancel_all)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    ended = [books.store.get(lease.job, None) for lease in leases]
    booked = {outcome: attempts for outcome, attempts, _ in books.rows}
    assert [racer.exitcode for racer in racers] == [0, 0]
    assert {job.usage for job in ended if job} == {PRICED}
    assert booked == Counter(str(job.status) for job in ended if job)
    assert sum(booked.values()) == 40
    assert books.open == 0


def _book_all(address: Path | str, leases: list[Lease], as_engine: bool) -> None:
    store = Books(open_database(address)).store
    for lease in leases:
        if as_engine:
            store.book(lease, USED)
        else:
            store.expire()


@pytest.mark.slow
def test_processes_that_book_at_once_book_each_attempt_once(books: Books, store_address: Path | str) -> None:
    leases = [books.begun(replace(JOB, id=f"{n:032x}", price=None)) for n in range(30)]
    for lease in leases:
        books.store.cancel(lease.job, "anna")
    spawn = get_context("spawn")
    racers = [spawn.Process(target=_book_all, args=[store_address, leases, n < 2]) for n in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert [racer.exitcode for racer in racers] == [0] * 3
    assert [(outcome, attempts) for outcome, attempts, _ in books.rows] == [("cancelled", 30)]
