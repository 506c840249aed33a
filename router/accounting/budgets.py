"""Budgets: how much a key or an owner may use in a calendar window."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

TEXT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,4})?)/(day|week|month)")
FORM = (
    "a number above 0 (up to 9 digits and 4 decimals), a slash, and day, week or month, such as 3600/day or 20.5/month"
)
EXACT = 6  # decimals of sums: those of floats differ beyond


class Unit(StrEnum):
    """What a budget limits: gpu-seconds, or money."""  # in the unit of the models' `price`

    GPU_SECONDS = "gpu_seconds"
    COST = "cost"


DECIMALS = {Unit.GPU_SECONDS: 3, Unit.COST: 6}  # of sums where they are listed


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

    def days(self, now: datetime) -> tuple[str, str]:
        """Return the first and the last day of the window, such as 2026-12-01."""
        last = self.ends(now) - timedelta(days=1)
        return f"{self.begins(now):%Y-%m-%d}", f"{last:%Y-%m-%d}"


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
            raise ValueError(f"must be {FORM}, got {text!r}")
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
        return max(
            0.0, round(self.account.budget.amount - self.used - self.reserved, EXACT)
        )  # in this order never -0.0

    def covers(self, need: Need) -> bool:
        """Return whether new jobs may be queued; of unknown length only one, alone."""
        needed = need.of(self.account.unit)
        return self.left > 0 and (need.jobs == 1 if needed is None else needed <= self.left)


def decimals(number: float, most: int) -> str:
    """Format a number with up to `most` decimals."""
    text = f"{number:.{most}f}"
    return text.rstrip("0").rstrip(".") if most else text
