"""`framegate usage`: the used work of some days, as a table or CSV."""

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import click

from registry import RegistryError
from router.accounting.ledger_rows import FIELDS, LedgerRow
from router.auth.keys import LOCAL
from router.cli.options import store_of, with_settings
from router.cli.usage_report import print_csv, print_table
from router.errors import RouterError
from router.jobs import ApiKeyStore, Ledger, OwnerStore, open_if_there
from router.settings import Settings
from router.system import reading

MOST_DAYS = 36_500
MOST_NAMES = 20  # of a message


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
        wanted = f"must be some of {', '.join(FIELDS)}, each once, with a comma and no space between them"
        raise click.BadParameter(f"{wanted}, got {value!r}")
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
    "--by",
    metavar="FIELDS",
    callback=_fields,
    default=",".join(FIELDS),
    show_default=True,
    help=f"One row for each of these: some of {', '.join(FIELDS)}.",
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

    Loads of models are the server's: they are counted apart, as attempts that were lost with their engine are. Sums
    are of unrounded numbers: the last digit of a total may differ from that of its column's sum.
    """
    last = until or datetime.fromtimestamp(time.time(), UTC).date()
    first = date.fromordinal(max(last.toordinal() - since + 1, 1)) if isinstance(since, int) else since
    if first > last:
        raise click.BadParameter(f"must be up to {last}, the last day, got {first}", param_hint="'--since'")
    rows = _rows(settings, first, last, owner, key, model)
    if as_csv:
        print_csv(by, rows)
    else:
        click.echo(f"{first} to {last} (UTC)")
        print_table(by, rows)


def _rows(
    settings: Settings, first: date, last: date, owner: str | None, key: str | None, model: str | None
) -> Sequence[LedgerRow]:
    """Return the rows of the ledger, with the names of keys for their ids."""
    if (database := open_if_there(settings.job_store)) is None:
        click.echo(f"note: {store_of(settings)} has no store yet, so nothing was used", err=True)
        return ()
    keys, ledger = ApiKeyStore(database).all(), Ledger(database)
    if owner is not None:
        owners = {LOCAL, *(known.owner for known in keys), *OwnerStore(database).all(), *ledger.names("owner")}
        if owner not in owners:
            raise _unknown("owner", owner, owners, settings)
    names = {known.id: known.name for known in keys}
    ids = {**{known: known for known in names}, **{name: known for known, name in names.items()}}
    if key is not None and key not in ids:
        where = f"no key is called {key!r} in {store_of(settings)}"
        raise click.BadParameter(f"{where}; 'framegate keys list' shows them", param_hint="'--key'")
    if model is not None and model not in (used := ledger.names("model")):
        served = _served(settings)
        if model not in served:
            raise _unknown("model", model, used.union(served.values()), settings)
        model = served[model]
    found = ledger.rows(first.isoformat(), last.isoformat(), owner=owner, key=ids[key] if key else None, model=model)
    return [replace(row, key=names.get(row.key, row.key)) for row in found]


def _served(settings: Settings) -> Mapping[str, str]:
    """Return the served models by name and alias; none without a good models file."""
    try:
        with reading(settings) as system:
            models = system.registries.poll().models
    except (RegistryError, RouterError):
        return {}
    return {name: model.name for model in models for name in (*model.aliases, model.name)}


def _unknown(what: str, name: str, known: Collection[str], settings: Settings) -> click.BadParameter:
    """Return the error of a name that nobody has."""
    listed = ", ".join(sorted(known)[:MOST_NAMES]) or "none"
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    message = f"no {what} is called {name!r} in {store_of(settings)}; there are {listed}{more}"
    return click.BadParameter(message, param_hint=f"'--{what}'")
