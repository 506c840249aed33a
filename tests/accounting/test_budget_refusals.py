"""The messages of budgets: of a refused request, of a held job."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from router.accounting.budgets import Account, Balance, Budget, Need, Subject, Unit, Window
from router.accounting.refusals import hold, refusal

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
SECONDS = Account(Subject.OWNER, "anna", "anna", Unit.GPU_SECONDS, Budget(3600, Window.DAY))
MONEY = Account(Subject.KEY, "fg-12345678", "ci", Unit.COST, Budget(20.5, Window.MONTH))
ANNA = "the budget of owner anna is 3600 gpu-seconds a day: "


@pytest.mark.parametrize(
    ("balance", "need", "message"),
    [
        (
            Balance(SECONDS, 3412.4, 130.0, 2),
            Need("anna", seconds=65.2),
            f"{ANNA}3412 are used, 130 are reserved until 2 unfinished jobs end, 57.6 are left until 2026-12-02 00:00 UTC; "
            "this request needs about 65.2",
        ),
        (
            Balance(SECONDS, 3605.0),
            Need("anna", seconds=0.0),
            f"{ANNA}3605 are used, nothing is left until 2026-12-02 00:00 UTC",
        ),
        (
            Balance(MONEY, 20.25, 0.125, 1),
            Need("anna", seconds=13.0, price=0.0125, jobs=2),
            "the budget of key ci is 20.5 of cost a month: 20.25 is used, 0.125 is reserved until 1 unfinished job ends, "
            "0.125 is left until 2027-01-01 00:00 UTC; this request needs about 0.325",
        ),
        (
            Balance(SECONDS, 100.0, 0.0, 2, 1),
            Need("anna", seconds=1.25),
            f"{ANNA}100 are used, all the rest is reserved until 2 unfinished jobs end, as the length of 1 of them is not "
            "known yet, nothing is left until 2026-12-02 00:00 UTC; this request needs about 1.25",
        ),
        (
            Balance(SECONDS, 0.0, 0.0, 1, 1),
            Need("anna", seconds=1.25),
            f"{ANNA}nothing is used, all the rest is reserved until 1 unfinished job ends, as its length is not known yet, "
            "nothing is left until 2026-12-02 00:00 UTC; this request needs about 1.25",
        ),
        (
            Balance(SECONDS, 0.0),
            Need("anna", jobs=4),
            f"{ANNA}nothing is used, 3600 are left until 2026-12-02 00:00 UTC; this request brings 4 jobs whose length is "
            "not known yet: these are taken one at a time",
        ),
        (
            Balance(SECONDS, 3600.0),
            Need("anna"),
            f"{ANNA}3600 are used, nothing is left until 2026-12-02 00:00 UTC",
        ),
        (
            Balance(replace(SECONDS, budget=Budget(1, Window.WEEK)), 0.0046, 0.99),
            Need("anna", seconds=0.006),
            "the budget of owner anna is 1 gpu-second a week: 0.005 are used, 0.005 are left until 2026-12-07 00:00 UTC; "
            "this request needs about 0.006",
        ),
        (
            Balance(replace(SECONDS, budget=Budget(0.3, Window.DAY)), 0.0, 0.1 + 0.1 + 0.1, 3),
            Need("anna", seconds=0.0003),
            "the budget of owner anna is 0.3 gpu-seconds a day: nothing is used, 0.3 are reserved until 3 unfinished jobs end, "
            "nothing is left until 2026-12-02 00:00 UTC; this request needs less than 0.001",
        ),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_what_was_needed_and_until_when(balance: Balance, need: Need, message: str) -> None:
    assert refusal(balance, need, NOON) == message


def test_a_job_that_is_held_back_is_told_by_which_budget_and_until_when() -> None:
    assert hold(MONEY, NOON) == "waits for the budget of key ci, which is used up until 2027-01-01 00:00 UTC"
