"""Options of commands that change budgets, and columns of their tables."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from router.accounting.budgets import DECIMALS, Balance, Budget, Budgets, Subject, Unit

REMOVED = 0  # the value of `none`; None stands for an option that was left out
HEADINGS = (
    "GPU-SECONDS BUDGET", "GPU-SECONDS USED", "GPU-SECONDS LEFT", "COST BUDGET", "COST USED", "COST LEFT",
)  # fmt: skip
OPTIONS = {
    "gpu_seconds": ("--gpu-seconds", "Budget of gpu-seconds in a UTC day, week or month, such as 3600/day"),
    "cost": ("--cost", "Budget of money in a UTC day, week or month, such as 20/month"),
}


def with_budgets(subject: str) -> Callable[[Any], Any]:
    """Return a decorator that gives a command the options; `subject` names the defaults' settings."""

    def decorate(command: Any) -> Any:
        for name, (option, about) in reversed(OPTIONS.items()):
            about = f"{about}. [default: FRAMEGATE_{subject.upper()}_{name.upper()}]"
            command = click.option(option, name, metavar="N/WINDOW|none", callback=_budget, help=about)(command)
        return command

    return decorate


def cells(own: Budgets, balances: Iterable[Balance], subject: Subject) -> tuple[str, ...]:
    """Return the cells of a key's or an owner's budgets, as `HEADINGS`."""
    found = {balance.account.unit: balance for balance in balances if balance.account.subject is subject}
    units = {Unit.GPU_SECONDS: own.gpu_seconds, Unit.COST: own.cost}
    return tuple(cell for unit, budget in units.items() for cell in _cells(budget, found.get(unit)))


def without_empty(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows of a table without the columns of budgets that nobody has."""
    shown = [
        at for at, column in enumerate(zip(*rows, strict=True)) if column[0] not in HEADINGS or {*column[1:]} - {"-"}
    ]
    return [[row[at] for at in shown] for row in rows]


def _cells(own: Budget | None, balance: Balance | None) -> tuple[str, ...]:
    if balance is None:
        return ("-",) * (len(HEADINGS) // len(Unit))
    budget, most = balance.account.budget, DECIMALS[balance.account.unit]
    sums = (f"{number:.{most}f}" for number in (balance.used, balance.left))
    return (str(budget) if own else f"{budget} (default)", *sums)


def _budget(context: click.Context, param: click.Parameter, value: str | None) -> Budget | int | None:
    if value is None or value == "none":
        return None if value is None else REMOVED
    try:
        return Budget.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error).replace("must be", "must be none, or", 1)) from error
