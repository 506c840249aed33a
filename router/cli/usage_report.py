"""The table and the CSV of `framegate usage`."""

import csv
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import click

from router.accounting.budgets import DECIMALS, Unit, decimals
from router.accounting.ledger_rows import LOAD, LedgerRow, LedgerSum, total, totals
from router.cli.table import show
from router.values import Outcome

FORMULAS = tuple("=+-@\t\r")  # how a cell begins that spreadsheets compute
SECONDS, COST = DECIMALS[Unit.GPU_SECONDS], DECIMALS[Unit.COST]


@dataclass(frozen=True)
class Figure:
    """A number of a sum, and its decimals."""

    read: Callable[[LedgerSum], int | float]
    decimals: int = 0

    def in_table(self, found: LedgerSum) -> str:
        """Return the number with all its decimals, for columns that align."""
        return f"{self.read(found):.{self.decimals}f}"

    def in_csv(self, found: LedgerSum) -> str:
        """Return the number without zeros at its end."""
        return decimals(self.read(found), self.decimals)

    def is_zero(self, found: LedgerSum) -> bool:
        return not round(self.read(found), self.decimals)


FIGURES: Mapping[str, Figure] = {
    "completed": Figure(lambda found: found.jobs[Outcome.COMPLETED]),
    "failed": Figure(lambda found: found.jobs[Outcome.FAILED]),
    "cancelled": Figure(lambda found: found.jobs[Outcome.CANCELLED]),
    "gpu_seconds": Figure(lambda found: found.used.gpu_seconds, SECONDS),
    "steps": Figure(lambda found: found.used.steps),
    "frames": Figure(lambda found: found.used.frames),
    "total_pixels": Figure(lambda found: found.used.pixels),
    "cost": Figure(lambda found: found.used.cost, COST),
    "lost": Figure(lambda found: found.jobs[Outcome.LOST]),
    "lost_gpu_seconds": Figure(lambda found: found.lost_gpu_seconds, SECONDS),
    "loads": Figure(lambda found: found.loads),
    "load_seconds": Figure(lambda found: found.load_seconds, SECONDS),
}
OF_LOADS = ("loads", "load_seconds")
CSV_ONLY = ("total_pixels",)
OPTIONAL = ("failed", "cancelled", "cost", "lost", "lost_gpu_seconds")  # not where all are 0
FIELDS_OF_LOADS = ("day", "model")


def print_table(by: Sequence[str], rows: Sequence[LedgerRow]) -> None:
    """Print the work of callers with its total, and below it the server's loads."""
    used = [row for row in rows if row.outcome != LOAD]
    whole = total(used)
    shown = [
        name
        for name, figure in FIGURES.items()
        if name not in (*CSV_ONLY, *OF_LOADS) and not (name in OPTIONAL and figure.is_zero(whole))
    ]
    sums = ["total", *[""] * (len(by) - 1), *(FIGURES[name].in_table(whole) for name in shown)]
    show([*_lines(by, shown, used), sums])
    if loads := [row for row in rows if row.outcome == LOAD]:
        click.echo("\nLoads of models, which are the server's:")
        show(list(_lines([name for name in by if name in FIELDS_OF_LOADS], OF_LOADS, loads)))


def print_csv(by: Sequence[str], rows: Iterable[LedgerRow]) -> None:
    """Print a header and the sums; those of loads have no owner."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*by, *FIGURES])
    for names, found in sorted(totals(rows, by), key=lambda group: group[0]):
        safe = (f"'{name}" if name.startswith(FORMULAS) else name for name in names)
        writer.writerow([*safe, *(figure.in_csv(found) for figure in FIGURES.values())])


def _lines(by: Sequence[str], shown: Sequence[str], rows: Iterable[LedgerRow]) -> Iterable[Sequence[str]]:
    """Yield the headings, and the sums of rows by these fields."""
    yield [name.upper().replace("GPU_", "GPU-").replace("_", " ") for name in (*by, *shown)]
    for names, found in sorted(totals(rows, by), key=lambda group: group[0]):
        yield [*(name or "-" for name in names), *(FIGURES[name].in_table(found) for name in shown)]
