"""The messages of budgets: of a refused request, of a held job."""

from __future__ import annotations

from datetime import datetime

from router.accounting.budgets import DECIMALS, Account, Balance, Need, Unit, decimals


def refusal(balance: Balance, need: Need, now: datetime) -> str:
    """Return the message of a request that its budget does not cover."""
    unit = balance.account.unit
    parts = [f"{_counted(balance.used, unit)} used", *_reserved(balance)]
    left = f"{_counted(balance.left, unit)} left until {ends(balance.account, now)}"
    return f"{_limit(balance.account)}: {', '.join([*parts, left])}{_needed(need, unit)}"


def hold(account: Account, now: datetime) -> str:
    """Return the warning of a queued job of a spent budget."""
    return f"waits for the budget of {account.subject} {account.name}, which is used up until {ends(account, now)}"


def ends(account: Account, now: datetime) -> str:
    """Return when the window around `now` ends, such as 2026-12-02 00:00 UTC."""
    return account.budget.window.ends(now).strftime("%Y-%m-%d %H:%M UTC")


def _limit(account: Account) -> str:
    amount, window = decimals(account.budget.amount, 4), account.budget.window
    unit = "of cost" if account.unit is Unit.COST else f"gpu-second{'' if amount == '1' else 's'}"
    return f"the budget of {account.subject} {account.name} is {amount} {unit} a {window}"


def _reserved(balance: Balance) -> list[str]:
    """Return what is reserved, until when; nothing without unfinished jobs."""
    if not balance.jobs:
        return []
    until = f"reserved until {balance.jobs} unfinished job{' ends' if balance.jobs == 1 else 's end'}"
    if not balance.unknown:
        return [f"{_counted(balance.expected, balance.account.unit)} {until}"]
    length = "its length is" if balance.jobs == 1 else f"the length of {balance.unknown} of them is"
    return [f"all the rest is {until}, as {length} not known yet"]


def _needed(need: Need, unit: Unit) -> str:
    needed = need.of(unit)
    if needed is None:  # a single job is refused where nothing is left, and would be at any length
        unknown = f"; this request brings {need.jobs} jobs whose length is not known yet: these are taken one at a time"
        return unknown if need.jobs > 1 else ""
    return f"; this request needs about {_shown(needed, unit)}".replace("about less", "less") if needed else ""


def _counted(number: float, unit: Unit) -> str:
    """Return a number and its verb, such as `57.6 are`."""
    shown = _shown(number, unit)
    if shown == "0":
        return "nothing is"
    return f"{shown} {'is' if shown == '1' or unit is Unit.COST else 'are'}"


def _shown(number: float, unit: Unit) -> str:
    """Format seconds with three digits or more, or money with up to six decimals."""
    most = DECIMALS[unit]
    if unit is Unit.GPU_SECONDS and number >= 1:
        most = 0 if number >= 100 else 1 if number >= 10 else 2
    shown = decimals(number, most)
    return f"less than {10**-most:.{most}f}" if number and shown == "0" else shown
