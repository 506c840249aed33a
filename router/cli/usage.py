"""`framegate usage`: a table of used work, or the same as CSV."""

import csv
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import click

from router.accounting.ledger_rows import FIELDS, LedgerRow, LedgerSum, total, totals
from router.cli.options import with_settings
from router.cli.table import show
from router.jobs import ApiKeyStore, Database, Ledger
from router.settings import Settings
from router.system import STORE
from router.values import Outcome

MOST_DAYS = 36_500
FORMULAS = tuple("=+-@\t\r")  # how a cell begins that spreadsheets compute
NUMBERS: Mapping[str, Callable[[LedgerSum], int | float]] = {
    "completed": lambda found: found.jobs[Outcome.COMPLETED],
    "failed": lambda found: found.jobs[Outcome.FAILED],
    "cancelled": lambda found: found.jobs[Outcome.CANCELLED],
    "gpu_seconds": lambda found: round(found.used.gpu_seconds, 3),
    "steps": lambda found: found.used.steps,
    "frames": lambda found: found.used.frames,
    "pixels": lambda found: found.used.pixels,
    "cost": lambda found: round(found.used.cost, 6),
    "lost": lambda found: found.jobs[Outcome.LOST],
    "lost_gpu_seconds": lambda found: round(found.lost_gpu_seconds, 3),
    "loads": lambda found: found.loads,
    "load_seconds": lambda found: round(found.load_seconds, 3),
}
CSV_ONLY = ("pixels",)
OPTIONAL = ("failed", "cancelled", "cost", "lost", "lost_gpu_seconds", "loads", "load_seconds")  # not where all are 0


def _day(context: click.Context, param: click.Parameter, value: str | None) -> date | int | None:
    """Parse a day; of `since` also a number of days, such as 7d."""
    if value is None:
        return None
    days = re.fullmatch("([1-9][0-9]{0,4})d", value) if param.name == "since" else None
    if days is not None and int(days[1]) <= MOST_DAYS:
        return int(days[1])
    try:
        return date.fromisoformat(value if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value) else "")
    except ValueError:
        wanted = "a day, such as 2026-12-01" + (", or days, such as 7d" if param.name == "since" else "")
        raise click.BadParameter(f"must be {wanted}, got {value!r}") from None


def _fields(context: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    fields = tuple(value.split(","))
    if not set(fields) <= set(FIELDS) or len(set(fields)) != len(fields):
        raise click.BadParameter(f"must be some of {','.join(FIELDS)}, got {value!r}")
    return fields


@click.command()
@click.option("--owner", help="The usage of one owner; `local` without keys.")
@click.option("--key", help="The usage of one key, by its name or id.")
@click.option("--model", help="The usage of one model.")
@click.option(
    "--since", metavar="DAY|DAYS", callback=_day, default="30d", show_default=True, help="First day (UTC), or 7d."
)
@click.option("--until", metavar="DAY", callback=_day, help="Last day (UTC). [default: today]")
@click.option(
    "--by", metavar="FIELDS", callback=_fields, default=",".join(FIELDS), show_default=True, help="One row for each."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header, without the total.")
@with_settings
def usage(
    settings: Settings,
    owner: str | None,
    key: str | None,
    model: str | None,
    since: date | int,
    until: date | None,
    by: tuple[str, ...],
    as_csv: bool,
) -> None:
    """Show what jobs took of the devices, and its cost; deleted jobs too.

    Loads of models are the server's: they are counted apart, as attempts that were lost with their engine are.
    """
    last = until or datetime.fromtimestamp(time.time(), UTC).date()
    first = date.fromordinal(max(last.toordinal() - since + 1, 1)) if isinstance(since, int) else since
    if first > last:
        raise click.BadParameter(f"must be up to {last}, the last day, got {first}", param_hint="--since")
    rows = _rows(settings, first, last, owner, key, model)
    groups = sorted(totals(rows, by), key=lambda group: group[0])
    if as_csv:
        _print_csv(by, groups)
    else:
        _print_table(by, groups, total(rows))


def _rows(
    settings: Settings, first: date, last: date, owner: str | None, key: str | None, model: str | None
) -> Sequence[LedgerRow]:
    """Return the rows of the ledger, with the names of keys for their ids."""
    path = settings.data / STORE
    if not path.exists():
        click.echo(f"note: {settings.data} has no store yet, so nothing was used", err=True)
        return ()
    database = Database(path)
    names = {known.id: known.name for known in ApiKeyStore(database).all()}
    ids = {**{known: known for known in names}, **{name: known for known, name in names.items()}}
    if key is not None and key not in ids:
        where = f"no key is called {key!r} in {settings.data}"
        raise click.BadParameter(f"{where}; 'framegate keys list' shows them", param_hint="--key")
    found = Ledger(database).rows(
        first.isoformat(), last.isoformat(), owner=owner, key=ids[key] if key else None, model=model
    )
    return [replace(row, key=names.get(row.key, row.key)) for row in found]


def _print_table(by: Sequence[str], groups: Sequence[tuple[tuple[str, ...], LedgerSum]], whole: LedgerSum) -> None:
    shown = [
        name for name, number in NUMBERS.items() if name not in CSV_ONLY and (name not in OPTIONAL or number(whole))
    ]

    def numbers(found: LedgerSum) -> Iterator[str]:
        return (_written(NUMBERS[name](found)) for name in shown)

    headings = [name.upper().replace("_", " ") for name in (*by, *shown)]
    body = [[*(name or "-" for name in names), *numbers(found)] for names, found in groups]
    show([headings, *body, ["total", *[""] * (len(by) - 1), *numbers(whole)]])


def _print_csv(by: Sequence[str], groups: Sequence[tuple[tuple[str, ...], LedgerSum]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*by, *NUMBERS])
    for names, found in groups:
        safe = (f"'{name}" if name.startswith(FORMULAS) else name for name in names)
        writer.writerow([*safe, *(_written(number(found)) for number in NUMBERS.values())])


def _written(number: int | float) -> str:
    """Return a number in plain decimals, without zeros at its end."""
    return str(number) if isinstance(number, int) else f"{number:.6f}".rstrip("0").rstrip(".")
