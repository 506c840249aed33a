"""Budgets in the store: refused, reserved, released, held back."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from support.accounts import book, end_attempts, run
from support.plans import plan
from support.stores import ON_SQLITE, statements

from registry import Input
from router.accounting.budgets import Balance, Budget, Budgets, Need, Unit
from router.auth.keys import ApiKey, KeyLimits, Scope, new_key, new_text
from router.errors import QuotaExceeded
from router.jobs import ApiKeyStore, BudgetStore, ClaimRequest, Database, JobStore, OwnerStore, open_database
from router.jobs.accounts import budget_statements as sql
from router.jobs.idempotency import Key
from router.values import Artifact, Job, Task, Usage

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)  # a Tuesday
MODEL = ClaimRequest(["m"])
VIDEO = Artifact("1.mp4", "video/mp4", "00", 9, 64, 64, 5, 8)


@dataclass
class Server:
    """A store with a wall clock that tests move."""

    database: Database
    now: datetime = NOON
    defaults: dict[str, Budgets] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.keys, self.owners = ApiKeyStore(self.database), OwnerStore(self.database)
        self.budgets = BudgetStore(self.database, **self.defaults, now=lambda: self.now)
        self.jobs = JobStore(self.database, lease_seconds=30, max_attempts=2, max_queued=1000, budgets=self.budgets)

    def limit(self, gpu_seconds: str | None = None, cost: str | None = None, owner: str = "me") -> None:
        self.owners.limit(owner, budgets(gpu_seconds, cost))

    def key(self, name: str, gpu_seconds: str | None = None, cost: str | None = None) -> ApiKey:
        both = budgets(gpu_seconds, cost)
        limits = KeyLimits(gpu_seconds=both.gpu_seconds, cost=both.cost)
        added = self.keys.add(replace(new_key(new_text(), name, "me", [Scope.GENERATE]), limits=limits))
        assert added is not None
        return added

    def job(self, estimate: float | None = 10.0, **more: Any) -> Job:
        return Job(
            f"{next(self.numbers):032x}", **{"owner": "me", "model": "m", "task": TASK, "estimate": estimate, **more}
        )

    def add(self, estimate: float | None = 10.0, siblings: Sequence[Job] = (), **more: Any) -> Job:
        return self.jobs.add(self.job(estimate, **more), siblings=siblings)

    def refusal(self, estimate: float | None = 10.0, **more: Any) -> str:
        """Return why a job is refused."""
        before = self.jobs.newest()
        with pytest.raises(QuotaExceeded) as refused:
            self.add(estimate, **more)
        assert self.jobs.newest() == before
        return refused.value.message

    def balance(self, key: str | None = None) -> Balance:
        (balance,) = self.budgets.balances("me", key)
        return balance


def budgets(gpu_seconds: str | None = None, cost: str | None = None) -> Budgets:
    return Budgets(*(Budget.parse(text) if text else None for text in (gpu_seconds, cost)))


@pytest.fixture
def server(database: Database) -> Server:
    return Server(database)


def test_without_a_budget_nothing_is_refused(server: Server) -> None:
    book(server.database, "2026-12-01", 1e9, cost=1e9)
    run(server.database, "x", None)
    server.add(1e9, price=1e9)
    server.add(None)

    assert server.budgets.balances("me", None) == ()


def test_a_job_longer_than_the_budget_is_refused(server: Server) -> None:
    server.limit("60/day")

    assert server.refusal(61.0) == (
        "the budget of owner me is 60 gpu-seconds a day: nothing is used, 60 are left until 2026-12-02 00:00 UTC; "
        "this request needs about 61"
    )
    server.add(60.0)


def test_used_work_of_this_window_counts_and_no_other(server: Server) -> None:
    server.limit("100/week")
    for day, seconds in (("2026-11-29", 1000.0), ("2026-11-30", 30.0), ("2026-12-01", 40.0), ("2026-12-07", 1000.0)):
        book(server.database, day, seconds)
    book(server.database, "2026-12-01", 500.0, owner="you")
    book(server.database, "2026-12-01", 500.0, outcome="lost")
    book(server.database, "2026-12-01", 500.0, outcome="load", owner="")
    book(server.database, "2026-12-01", 3.0, outcome="failed")
    book(server.database, "2026-12-01", 7.0, outcome="cancelled")

    assert (server.balance().used, server.balance().left) == (80.0, 20.0)
    assert server.refusal(20.5).endswith(
        "80 are used, 20 are left until 2026-12-07 00:00 UTC; this request needs about 20.5"
    )
    server.add(20.0)


def test_a_budget_is_whole_again_in_the_next_window(server: Server) -> None:
    server.limit("60/day")
    book(server.database, "2026-12-01", 60.0)
    server.refusal(1.0)
    server.now = datetime(2026, 12, 2, tzinfo=UTC)

    server.add(60.0)


def test_queued_jobs_reserve_their_estimates_until_they_are_cancelled(server: Server) -> None:
    server.limit("60/day")
    first = server.add(35.0)
    server.add(20.0)

    assert "nothing is used, 55 are reserved until 2 unfinished jobs end, 5 are left" in server.refusal(6.0)
    server.jobs.cancel(first.id, "me")
    server.add(40.0)


def test_a_deleted_job_reserves_nothing(server: Server) -> None:
    server.limit("60/day")
    first = server.add(60.0)
    server.jobs.delete(first.id, "me")

    server.add(60.0)


def test_a_running_job_reserves_what_it_was_expected_to_take_or_has_taken(server: Server) -> None:
    server.limit("1000/day")
    run(server.database, "short", 100.0, elapsed=10.0)
    run(server.database, "long", 100.0, elapsed=300.0)
    run(server.database, "lost", 100.0, elapsed=300.0, boot="another boot")
    run(server.database, "hers", 100.0, owner="you")

    balance = server.balance()
    assert balance.jobs == 3
    assert balance.expected == pytest.approx(500.0, abs=5)
    end_attempts(server.database)
    book(server.database, "2026-12-01", 250.0)
    assert (server.balance().reserved, server.balance().left) == (0.0, 750.0)


def test_a_running_job_whose_model_loads_reserves_what_it_is_expected_to_take(server: Server) -> None:
    server.limit("1000/day")
    run(server.database, "loading", 100.0, elapsed=None)

    assert (server.balance().jobs, server.balance().expected, server.balance().left) == (1, 100.0, 900.0)
    run(server.database, "unknown", None, elapsed=None)
    assert (server.balance().unknown, server.balance().left) == (1, 0.0)


def test_an_ended_job_has_used_what_it_took_and_reserves_nothing(server: Server) -> None:
    server.now = datetime.now(UTC)
    server.limit("60/day", "1/month")
    server.add(50.0, price=0.01)
    claim = server.jobs.claim("e", MODEL)
    assert claim is not None
    running = server.budgets.balances("me", None)
    server.jobs.finish(claim[0], VIDEO, used=Usage(gpu_seconds=25.0))

    assert [(each.used, round(each.reserved, 1)) for each in running] == [(0.0, 50.0), (0.0, 0.5)]
    assert [(each.used, each.reserved) for each in server.budgets.balances("me", None)] == [(25.0, 0.0), (0.25, 0.0)]


def test_a_cancelled_job_reserves_until_its_work_is_booked(server: Server) -> None:
    server.now = datetime.now(UTC)
    server.limit("60/day")
    job = server.add(50.0)
    claim = server.jobs.claim("e", MODEL)
    assert claim is not None
    server.jobs.cancel(job.id, "me")

    assert round(server.balance().reserved) == 50
    server.jobs.book(claim[0], Usage(gpu_seconds=10.0))
    assert (server.balance().used, server.balance().reserved) == (10.0, 0.0)


def test_a_job_that_is_lost_reserves_again_what_it_needs(server: Server) -> None:
    server.now = datetime.now(UTC)
    server.limit("60/day")
    server.add(50.0)
    claim = server.jobs.claim("e", MODEL)
    assert claim is not None
    server.jobs.release(claim[0])

    assert (server.balance().used, server.balance().reserved, server.balance().jobs) == (0.0, 50.0, 1)


def test_money_is_work_times_price(server: Server) -> None:
    server.limit(cost="10/month")
    book(server.database, "2026-12-01", 1e6, cost=4.0)
    server.add(100.0, price=0.03)
    run(server.database, "x", 50.0, price=0.02)
    run(server.database, "free", 5000.0)
    server.add(5000.0)

    assert server.balance() == Balance(server.balance().account, 4.0, 4.0, 2, 0)
    assert server.refusal(201.0, price=0.01) == (
        "the budget of owner me is 10 of cost a month: 4 is used, 4 is reserved until 2 unfinished jobs end, 2 is left "
        "until 2027-01-01 00:00 UTC; this request needs about 2.01"
    )
    server.add(200.0, price=0.01)


@pytest.mark.parametrize("price", [None, 0.0])
def test_a_job_that_costs_nothing_passes_a_spent_budget_of_money(server: Server, price: float | None) -> None:
    server.limit(cost="1/month")
    book(server.database, "2026-12-01", 10.0, cost=5.0)
    server.refusal(0.1, price=0.01)

    server.add(1e6, price=price)
    server.add(None, price=price)
    assert server.jobs.claim("e", MODEL) is not None


def test_budgets_of_key_and_owner_hold_together(server: Server) -> None:
    few, many = server.key("few", "50/day"), server.key("many", "500/day")
    server.limit("100/day")
    server.add(50.0, key=few.id)

    assert server.refusal(1.0, key=few.id).startswith("the budget of key few is 50 gpu-seconds a day")
    assert server.refusal(51.0, key=many.id).startswith("the budget of owner me is 100 gpu-seconds a day")
    server.add(50.0, key=many.id)
    assert [(each.account.name, each.used, each.reserved, each.left) for each in server.budgets.balances("me", few.id)] == [
        ("me", 0.0, 100.0, 0.0), ("few", 0.0, 50.0, 0.0),
    ]  # fmt: skip


def test_a_key_is_bound_by_its_own_work_only(server: Server) -> None:
    one, two = server.key("one", "50/day"), server.key("two", "50/day")
    book(server.database, "2026-12-01", 50.0, key=one.id)
    run(server.database, "x", 30.0, key=two.id)

    server.refusal(1.0, key=one.id)
    server.refusal(21.0, key=two.id)
    server.add(20.0, key=two.id)


def test_own_budgets_replace_the_defaults(database: Database) -> None:
    defaults = {"keys": budgets("10/day"), "owners": budgets("100/day", "1/day")}
    server = Server(database, defaults=defaults)
    usual, own = server.key("usual"), server.key("own", "70/day")

    server.refusal(11.0, key=usual.id)
    server.refusal(101.0)
    server.refusal(20.0, price=1.0)
    server.add(70.0, key=own.id)
    server.limit("200/day")
    server.add(101.0)


def test_a_job_of_unknown_length_reserves_all_that_is_left(server: Server) -> None:
    server.limit("60/day")
    book(server.database, "2026-12-01", 20.0)
    first = server.add(None)

    for estimate in (None, 1.0):
        said = "the rest is reserved until 1 unfinished job ends, as its length is not known yet, nothing is left until"
        assert said in server.refusal(estimate)
    assert (server.balance().reserved, server.balance().left) == (40.0, 0.0)
    server.jobs.cancel(first.id, "me")
    server.add(40.0)
    assert server.refusal(None).endswith("nothing is left until 2026-12-02 00:00 UTC")


def test_a_running_job_of_unknown_length_reserves_all_too(server: Server) -> None:
    server.limit("60/day")
    run(server.database, "x", None)
    server.refusal(1.0)
    end_attempts(server.database)
    run(server.database, "y", None, boot="another boot")  # it will be lost, and costs nothing

    server.add(1.0)


def test_the_jobs_of_one_request_are_taken_or_refused_together(server: Server) -> None:
    server.limit("60/day")

    assert server.refusal(20.0, siblings=[server.job(20.0) for _ in range(3)]).endswith("this request needs about 80")
    assert "4 jobs whose length is not known yet" in server.refusal(None, siblings=[server.job(None) for _ in range(3)])
    server.add(20.0, siblings=[server.job(20.0) for _ in range(2)])
    server.refusal(0.01)


def test_a_repeated_request_is_answered_whatever_the_budget(server: Server) -> None:
    server.limit("60/day")
    key = Key("order 66", "digest")
    first = server.jobs.add(server.job(60.0), key)

    assert server.jobs.add(server.job(60.0), key).id == first.id
    server.refusal(60.0)


def test_a_look_before_the_estimate_refuses_a_spent_budget_only(server: Server) -> None:
    server.limit("60/day")
    look = Need("me", seconds=0.0)
    server.add(59.0)
    server.jobs.check_limits(need=look)
    server.add(1.0)

    with pytest.raises(
        QuotaExceeded,
        match=r"60 are reserved until 2 unfinished jobs end, nothing is left until 2026-12-02 00:00 UTC$",
    ):
        server.jobs.check_limits(need=look)


def test_requests_that_race_overdraw_nothing(server: Server) -> None:
    server.limit("60/day")

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: taken_by(server), range(24)))
    assert (sum(taken), server.balance().left) == (6, 0.0)


def taken_by(server: Server) -> bool:
    try:
        server.add(10.0)
    except QuotaExceeded:
        return False
    return True


def _add_all(address: Path | str, first: int, results: Any) -> None:
    server = Server(open_database(address), numbers=count(first))
    results.put(sum(taken_by(server) for _ in range(10)))


@pytest.mark.slow
def test_processes_that_race_overdraw_nothing(server: Server, store_address: Path | str) -> None:
    server.limit("60/day")
    spawn = get_context("spawn")
    results = spawn.Queue()
    callers = [spawn.Process(target=_add_all, args=[store_address, n * 100 + 1, results]) for n in range(3)]
    for caller in callers:
        caller.start()
    taken = [results.get(timeout=60) for _ in callers]
    for caller in callers:
        caller.join()

    assert (sum(taken), server.balance().left) == (6, 0.0)


def test_jobs_of_a_spent_budget_wait_for_the_next_window(server: Server) -> None:
    server.limit("60/day")
    held, other = server.add(10.0), server.add(10.0, owner="you")
    book(server.database, "2026-12-01", 75.0)  # a job took longer than it was expected to

    assert [claimed(server), claimed(server)] == [other.id, None]
    server.now += timedelta(hours=12)
    assert claimed(server) == held.id


@pytest.mark.parametrize(("elapsed", "is_held"), [(99.0, False), (100.0, True), (None, False)])
def test_a_running_job_that_has_used_a_budget_up_holds_the_others_back(
    server: Server, elapsed: float | None, is_held: bool
) -> None:
    server.limit("100/day")
    server.add(10.0)
    run(server.database, "longer than expected", 5.0, elapsed)

    assert (claimed(server) is None) is is_held
    end_attempts(server.database)
    assert is_held is False or claimed(server) is not None


def test_jobs_of_a_spent_budget_run_once_it_is_raised(server: Server) -> None:
    key = server.key("ci", "60/day")
    held = server.add(10.0, key=key.id)
    book(server.database, "2026-12-01", 60.0, key=key.id)
    free = server.add(10.0)

    assert [claimed(server), claimed(server)] == [free.id, None]
    server.keys.limit("ci", KeyLimits(gpu_seconds=Budget.parse("61/day")))
    assert claimed(server) == held.id


def test_a_spent_default_holds_jobs_back_too(database: Database) -> None:
    server = Server(database, defaults={"owners": budgets("60/day")})
    server.add(10.0)
    book(server.database, "2026-12-01", 60.0)

    assert claimed(server) is None


def test_spent_money_holds_back_what_has_a_price(server: Server) -> None:
    server.limit(cost="1/day")
    priced, free = server.add(10.0, price=0.01), server.add(10.0)
    book(server.database, "2026-12-01", 5.0, cost=1.0)

    assert [claimed(server), claimed(server)] == [free.id, None]
    server.limit(cost="1.01/day")
    assert claimed(server) == priced.id


def test_the_remaining_time_of_other_jobs_leaves_held_back_ones_out(server: Server) -> None:
    server.limit("60/day")
    held, other = server.add(10.0), server.add(10.0, owner="you")
    before = [job and job.remaining for job in (server.jobs.get(held.id, "me"), server.jobs.get(other.id, "you"))]
    book(server.database, "2026-12-01", 60.0)
    server.add(5.0, owner="us", model="n")  # a change: the forecast is made again
    after = [job and job.remaining for job in (server.jobs.get(held.id, "me"), server.jobs.get(other.id, "you"))]

    assert (before, after) == ([10.0, 20.0], [None, 15.0])


def test_a_job_that_is_held_back_says_so_while_it_is(server: Server) -> None:
    key = server.key("ci", "60/day", "1/week")
    held, free = server.add(10.0, key=key.id, price=0.01, warnings=("a size",)), server.add(10.0)
    book(server.database, "2026-12-01", 60.0, key=key.id)
    spent = "waits for the budget of key ci, which is used up until 2026-12-02 00:00 UTC"
    server.add(5.0, owner="us", model="n")  # a change: the forecast is made again

    assert warnings(server, held) == ("a size", spent)
    assert warnings(server, free) == ()
    page = server.jobs.page("me", after=None, limit=9, newest_first=False)
    assert page is not None
    assert [(job.warnings, job.remaining) for job in page] == [(("a size", spent), None), ((), 15.0)]
    book(server.database, "2026-11-30", 0.0, key=key.id, cost=1.0)  # the week of its money is spent too, and ends later
    server.add(5.0, owner="us", model="n")
    assert warnings(server, held)[1:] == (spent.replace("12-02", "12-07"),)
    server.keys.limit("ci", KeyLimits())
    assert claimed(server) == held.id
    assert warnings(server, held) == ("a size",)


def warnings(server: Server, job: Job) -> tuple[str, ...]:
    found = server.jobs.get(job.id, "me")
    assert found is not None
    return found.warnings


def test_reserved_work_holds_nothing_back(server: Server) -> None:
    server.limit("60/day")
    first = server.add(60.0)
    run(server.database, "x", 60.0, elapsed=30.0)

    assert claimed(server) == first.id


def claimed(server: Server) -> str | None:
    """Return the id of the job that an engine gets."""
    found = server.jobs.claim("e", MODEL)
    return found[1].id if found else None


def test_without_budgets_a_job_costs_one_lookup_to_add_and_one_to_claim(server: Server) -> None:
    book(server.database, "2026-12-01", 75.0)
    with statements() as asked, server.database.write() as db:
        server.budgets.check(db, Need("me", "fg-12345678", 1, 10.0))
        server.budgets.held_back(db)

    assert [each.split()[0] for each in asked] == ["SELECT"] * 2


IDS = {f"{subject}_{unit}": "[]" for subject in ("owner", "key") for unit in Unit}
UNFINISHED = {"id": "", "boot": "", "now": 0}


@ON_SQLITE
@pytest.mark.parametrize(
    ("statement", "values", "searched"),
    [
        (sql.ONE, {"owner": "a", "key": "b"}, ["owners owner=?", "api_keys id=?"]),
        (sql.QUEUED, {}, ["jobs status=?", "owners owner=?", "api_keys id=?"]),
        (sql.USED["owner"], {"wanted": "[]"}, ["ledger owner=? AND day>? AND day<?"]),
        (sql.USED["key"], {"wanted": "[]"}, ["ledger key=? AND day>? AND day<?"]),
        (sql.UNFINISHED["owner"], UNFINISHED, ["attempts owner=?", "jobs status=?"]),
        (sql.UNFINISHED["key"], UNFINISHED, ["jobs key=? AND status=?"]),
        (sql.HELD_BACK, IDS, ["jobs status=?"]),
    ],
)
def test_balances_read_no_finished_jobs(
    server: Server, statement: object, values: dict[str, Any], searched: list[str]
) -> None:
    found = re.findall(r"SEARCH (\w+) USING INDEX \w+ \((.+?)\)", plan_of(server, statement, values))

    assert [f"{table} {columns}" for table, columns in found] == searched


@ON_SQLITE
def test_whether_there_is_any_budget_is_read_from_an_index_of_budgets(server: Server) -> None:
    assert "SCAN api_keys USING INDEX api_keys_budgets" in plan_of(server, sql.ANY, {})


def plan_of(server: Server, statement: object, values: dict[str, Any]) -> str:
    with server.database.read() as db:
        return plan(db, statement, values)
