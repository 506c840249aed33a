"""The options of commands that change budgets."""

from collections.abc import Callable, Iterable
from typing import Any

import click

from router.accounting.budgets import Budget

REMOVED = 0  # the value of `none`; None stands for an option that was left out
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


def cells(budgets: Iterable[Budget | None]) -> tuple[str, ...]:
    """Return the cells of budgets in a table."""
    return tuple("-" if budget is None else str(budget) for budget in budgets)


def _budget(context: click.Context, param: click.Parameter, value: str | None) -> Budget | int | None:
    if value is None or value == "none":
        return None if value is None else REMOVED
    try:
        return Budget.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error).replace("must be", "must be none, or", 1)) from error
