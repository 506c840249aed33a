"""Budgets of a key and an owner, as `GET /v1/usage` shows them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from router.accounting.budgets import DECIMALS, Balance, Subject, Unit, Window
from router.jobs import BudgetStore
from router.web.answer_fields import Answer, enum, integer, number, string


class BudgetAnswer(Answer):
    """A budget of a key, or of an owner with all its keys."""

    subject = enum("whose it is", *Subject)
    name = string("the name of the key, or the owner")
    unit = enum("gpu-seconds, or money in the unit of the models' prices", *Unit)
    amount = number("the most that may be used in each window")
    window = enum("a day, a week from Monday, or a month, in UTC", *Window)
    used = number("by jobs that ended in this window")
    reserved = number("by unfinished jobs; all that is left while one of them is of unknown length")
    left = number("for new jobs")
    resets_at = integer("seconds since 1970: when the next window begins")


BUDGET = BudgetAnswer()


def budgets_of(budgets: BudgetStore, owner: str, key: str | None = None) -> list[dict[str, Any]]:
    """Return the budgets of an owner and of the key of this id, rendered."""
    now = datetime.now(UTC)
    return [BUDGET.dump(_values(balance, now)) for balance in budgets.balances(owner, key)]


def budgets_by_key(budgets: BudgetStore, owners: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rendered budgets of keys and their owners by the key's id.

    `owners` has the owner of each key.
    """
    now = datetime.now(UTC)
    found = budgets.all_balances([(owner, key) for key, owner in owners.items()])
    return {key: [BUDGET.dump(_values(each, now)) for each in balances] for (_, key), balances in found.items()}


def _values(balance: Balance, now: datetime) -> dict[str, Any]:
    account = balance.account
    sums = {name: round(getattr(balance, name), DECIMALS[account.unit]) for name in ("used", "reserved", "left")}
    limit = {"amount": account.budget.amount, "window": account.budget.window.value}
    names = {"subject": account.subject.value, "name": account.name, "unit": account.unit.value}
    return {**names, **limit, **sums, "resets_at": int(account.budget.window.ends(now).timestamp())}
