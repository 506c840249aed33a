"""Budgets as values: their text, windows and balances."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from router.accounting.budgets import Account, Balance, Budget, Budgets, Need, Subject, Unit, Window

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)  # a Tuesday
SECONDS = Account(Subject.OWNER, "anna", "anna", Unit.GPU_SECONDS, Budget(3600, Window.DAY))


@pytest.mark.parametrize("text", ["3600/day", "7200.5/week", "0.0001/month", "999999999.9999/day", "20/month"])
def test_a_budget_reads_as_it_is_written(text: str) -> None:
    assert str(Budget.parse(text)) == text


def test_zeros_around_a_number_are_left_out() -> None:
    assert [str(Budget.parse(text)) for text in ("007.50/day", "100.0/week", "1000/month")] == [
        "7.5/day", "100/week", "1000/month",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "3600", "/day", "0/day", "0.0/day", "-1/day", "1e5/day", "nan/day", "inf/day", "1/hour", "1/Day", " 1/day",
     "1/day ", "1/day\n", "1234567890/day", "1.23456/day", ".5/day", "5./day", "1_000/day", "1,5/day", "٣/day"],
)  # fmt: skip
def test_any_other_text_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        Budget.parse(text)

    form = "a number above 0 (up to 9 digits and 4 decimals), a slash, and day, week or month"
    assert str(refused.value) == f"must be {form}, such as 3600/day or 20.5/month, got {text!r}"


@pytest.mark.parametrize(
    ("window", "now", "begins", "ends"),
    [
        ("day", "2026-12-01T12:30:15.5", "2026-12-01", "2026-12-02"),
        ("day", "2026-12-31T23:59:59.999999", "2026-12-31", "2027-01-01"),
        ("day", "2028-02-28T00:00:00", "2028-02-28", "2028-02-29"),
        ("week", "2026-12-01T12:00:00", "2026-11-30", "2026-12-07"),
        ("week", "2026-11-30T00:00:00", "2026-11-30", "2026-12-07"),
        ("week", "2026-12-06T23:59:59", "2026-11-30", "2026-12-07"),
        ("week", "2027-01-02T00:00:00", "2026-12-28", "2027-01-04"),
        ("month", "2026-12-01T00:00:00", "2026-12-01", "2027-01-01"),
        ("month", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("month", "2027-02-28T12:00:00", "2027-02-01", "2027-03-01"),
        ("month", "2028-02-29T12:00:00", "2028-02-01", "2028-03-01"),
        ("month", "2027-04-30T12:00:00", "2027-04-01", "2027-05-01"),
    ],
)
def test_a_window_begins_and_ends_with_the_calendar(window: str, now: str, begins: str, ends: str) -> None:
    instant, bounds = datetime.fromisoformat(now).replace(tzinfo=UTC), Window(window)

    assert f"{bounds.begins(instant):%Y-%m-%d %H:%M:%S %Z}" == f"{begins} 00:00:00 UTC"
    assert f"{bounds.ends(instant):%Y-%m-%d %H:%M:%S %Z}" == f"{ends} 00:00:00 UTC"


def test_the_days_of_a_window_are_its_first_and_its_last() -> None:
    now = datetime(2026, 12, 1, 23, 59, tzinfo=UTC)

    assert Window.DAY.days(now) == ("2026-12-01", "2026-12-01")
    assert Window.WEEK.days(now) == ("2026-11-30", "2026-12-06")
    assert Window.MONTH.days(now) == ("2026-12-01", "2026-12-31")


def test_windows_follow_each_other_without_a_gap() -> None:
    for window in Window:
        now = datetime(2026, 11, 28, tzinfo=UTC)
        for _ in range(30):
            end = window.ends(now)
            assert window.begins(end) == end
            assert window.begins(end - timedelta(microseconds=1)) == window.begins(now)
            now = end


def test_a_time_of_another_zone_is_of_the_window_in_utc() -> None:
    late = datetime(2027, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))

    assert Window.MONTH.begins(late) == datetime(2026, 12, 1, tzinfo=UTC)


def test_own_budgets_come_before_the_defaults() -> None:
    day, week = Budget(1, Window.DAY), Budget(2, Window.WEEK)

    assert Budgets(day).over(Budgets(week, week)) == Budgets(day, week)


def test_new_jobs_need_their_estimates_and_cost_their_price() -> None:
    need = Need("anna", jobs=3, seconds=10.0, price=0.02)

    assert (need.of(Unit.GPU_SECONDS), need.of(Unit.COST)) == (30.0, 0.6)
    assert replace(need, seconds=None).of(Unit.COST) is None
    assert [replace(need, price=price).concerns(Unit.COST) for price in (None, 0.0, 0.02)] == [False, False, True]
    assert replace(need, price=None).concerns(Unit.GPU_SECONDS)


@pytest.mark.parametrize(
    ("used", "expected", "unknown", "needed", "jobs", "covered"),
    [
        (0, 0, 0, 3600, 1, True),
        (0, 0, 0, 3600.001, 1, False),
        (3000, 500, 0, 100, 1, True),
        (3000, 500, 0, 101, 1, False),
        (0, 0, 0, 900, 4, True),
        (0, 0, 0, 901, 4, False),
        (3599, 0, 0, 0, 1, True),
        (3600, 0, 0, 0, 1, False),  # spent: refused before the estimate is known
        (0, 3600, 0, 0, 1, False),
        (5000, 0, 0, 0, 1, False),
        (3599, 0, 0, None, 1, True),  # the rest is reserved by one job of unknown length
        (3600, 0, 0, None, 1, False),
        (0, 0, 1, None, 1, False),
        (0, 0, 1, 1, 1, False),
        (0, 0, 0, None, 2, False),
        (3600 - 0.3, 0.1 + 0.2, 0, 0, 1, False),  # sums of floats are not exact
        (3600 - 0.3, 0.0, 0, 0.1 + 0.2, 1, True),
    ],
)
def test_a_budget_covers_what_is_neither_used_nor_reserved(
    used: float, expected: float, unknown: int, needed: float | None, jobs: int, covered: bool
) -> None:
    balance = Balance(SECONDS, used, expected, 1, unknown)

    assert balance.covers(Need("anna", jobs=jobs, seconds=needed)) == covered


def test_a_job_of_unknown_length_reserves_all_that_is_left() -> None:
    balance = Balance(SECONDS, 600.0, 40.0, 2, 1)

    assert (balance.reserved, balance.left) == (3000.0, 0.0)
    assert (replace(balance, unknown=0).reserved, replace(balance, unknown=0).left) == (40.0, 2960.0)
    assert str(Balance(replace(SECONDS, budget=Budget(0.3, Window.DAY)), 0.0, 0.1 + 0.1 + 0.1, 3).left) == "0.0"
    assert (Balance(SECONDS, 4000.0).left, Balance(SECONDS, 4000.0, 5.0, 1, 1).reserved) == (0.0, 5.0)
