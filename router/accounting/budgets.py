"""Budgets: how much a key or an owner may use in a calendar window."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

TEXT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,4})?)/(day|week|month)")
EXACT = 6  # decimals of sums: those of floats differ beyond


class Unit(StrEnum):
    """What a budget limits: seconds of devices, or money."""  # in the unit of the models' `price`

    GPU_SECONDS = "gpu_seconds"
    COST = "cost"


class Subject(StrEnum):
    """Whose budget it is."""

    KEY = "key"
    OWNER = "owner"


class Window(StrEnum):
    """A day, week or month of the calendar in UTC; weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def begins(self, now: datetime) -> datetime:
        """Return the first instant of the window around `now`, a time with its zone."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self is Window.MONTH:
            return today.replace(day=1)
        return today - timedelta(days=today.weekday() if self is Window.WEEK else 0)

    def ends(self, now: datetime) -> datetime:
        """Return the first instant after the window around `now`."""
        begins = self.begins(now)
        if self is Window.MONTH:
            return (begins + timedelta(days=31)).replace(day=1)
        return begins + timedelta(days=7 if self is Window.WEEK else 1)


@dataclass(frozen=True)
class Budget:
    """The most that may be used in each window, in a `Unit`."""

    amount: float
    window: Window

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Parse text such as `3600/day`; raise `ValueError` with the allowed form."""
        found = TEXT.fullmatch(text)
        if found is None or not float(found[1]):
            form = "a number above 0, with up to 9 digits and 4 decimals, for each day, week or month"
            raise ValueError(f"must be {form}, such as 3600/day or 20.5/month, got {text!r}")
        return cls(float(found[1]), Window(found[2]))

    def __str__(self) -> str:
        return f"{decimals(self.amount, 4)}/{self.window}"


@dataclass(frozen=True)
class Budgets:
    """The budgets of one key or owner; None: no limit."""

    gpu_seconds: Budget | None = None
    cost: Budget | None = None

    def over(self, others: Budgets) -> Budgets:
        """Return these budgets, with those of `others` where these are None."""
        return Budgets(self.gpu_seconds or others.gpu_seconds, self.cost or others.cost)


@dataclass(frozen=True)
class Account:
    """One budget of a key or owner.

    `id` is the key's id or the owner, `name` the key's name or the owner.
    """

    subject: Subject
    id: str
    name: str
    unit: Unit
    budget: Budget

    def spent(self, used: float) -> bool:
        """Return whether used work alone has reached the budget."""
        return round(used, EXACT) >= self.budget.amount


@dataclass(frozen=True)
class Need:
    """New jobs: how many, and the expected seconds and the price of each.

    `seconds` are None before the first measured job, and 0 where only a spent budget is looked for.
    """

    owner: str
    key: str | None = None
    jobs: int = 1
    seconds: float | None = None
    price: float | None = None

    def concerns(self, unit: Unit) -> bool:
        """Return whether the jobs use any of this unit."""
        # without a price they cost nothing, and a spent budget of money lets them pass
        return unit is Unit.GPU_SECONDS or bool(self.price)

    def of(self, unit: Unit) -> float | None:
        """Return what all jobs need, None if unknown."""
        if self.seconds is None:
            return None
        each = self.seconds if unit is Unit.GPU_SECONDS else self.seconds * (self.price or 0)
        return round(each * self.jobs, EXACT)


@dataclass(frozen=True)
class Balance:
    """The state of an account: `used` by ended jobs, `expected` of unfinished ones.

    `jobs` counts the unfinished ones; `unknown` of these have no estimate: they reserve all that is left.
    """

    account: Account
    used: float
    expected: float = 0.0
    jobs: int = 0
    unknown: int = 0

    @property
    def reserved(self) -> float:
        rest = self.account.budget.amount - self.used
        return max(self.expected, rest) if self.unknown else self.expected

    @property
    def left(self) -> float:
        return max(round(self.account.budget.amount - self.used - self.reserved, EXACT), 0.0)

    def covers(self, need: Need) -> bool:
        """Return whether new jobs may be queued; of unknown length only one, alone."""
        needed = need.of(self.account.unit)
        return self.left > 0 and (need.jobs == 1 if needed is None else needed <= self.left)


def refusal(balance: Balance, need: Need, now: datetime) -> str:
    """Return the message of a request that its budget does not cover."""
    account, budget = balance.account, balance.account.budget
    limit = f"{decimals(budget.amount, 4)} gpu-seconds"
    if account.unit is Unit.COST:
        limit = f"a cost of {decimals(budget.amount, 4)}"
    end = budget.window.ends(now).strftime("%Y-%m-%d %H:%M UTC")
    parts = [f"{_shown(balance.used, account.unit)} are used", *_reserved(balance)]
    left = f"{_shown(balance.left, account.unit)} are left until {end}"
    whose = f"the budget of {account.subject} {account.name} is {limit} a {budget.window}"
    return f"{whose}: {', '.join([*parts, left])}{_needed(need, account.unit)}"


def _reserved(balance: Balance) -> list[str]:
    jobs = f"{balance.jobs} unfinished job{'' if balance.jobs == 1 else 's'}"
    if balance.unknown:
        return [f"the rest is reserved by {jobs}, {balance.unknown} of unknown length"]
    return [f"{_shown(balance.expected, balance.account.unit)} reserved by {jobs}"] if balance.jobs else []


def _needed(need: Need, unit: Unit) -> str:
    needed = need.of(unit)
    if needed is None:
        if need.jobs == 1:
            return "; the length of this request's job is not known yet"
        return f"; this request brings {need.jobs} jobs of unknown length, and one such job is taken at a time"
    return f"; this request needs about {_shown(needed, unit)}" if needed else ""


def _shown(number: float, unit: Unit) -> str:
    """Format seconds with three digits or more, or money with up to four decimals."""
    if unit is Unit.COST:
        return decimals(number, 4)
    return decimals(number, 0 if number >= 100 else 1 if number >= 10 else 2)


def decimals(number: float, most: int) -> str:
    """Format a number with up to `most` decimals."""
    text = f"{number:.{most}f}"
    return text.rstrip("0").rstrip(".") if most else text
