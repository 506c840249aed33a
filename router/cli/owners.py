"""`framegate owners`: list the owners of keys, and limit what they use."""

import time
from collections import Counter
from dataclasses import replace

import click

from router.accounting.budgets import Budget, Budgets, Unit, decimals
from router.auth.keys import LOCAL, NAME
from router.cli.budget_options import cells, with_budgets
from router.cli.options import with_settings
from router.cli.table import show
from router.jobs import ApiKeyStore, BudgetStore, Database, OwnerStore
from router.settings import Settings
from router.system import STORE

HEADINGS = ("OWNER", "KEYS", "GPU SECONDS", "LEFT", "COST", "LEFT")


def _owner(context: click.Context, param: click.Parameter, value: str) -> str:
    if not NAME.fullmatch(value):
        wanted = "must be letters, digits and ._-, up to 64, and begin with a letter or digit"
        raise click.BadParameter(f"{wanted}, got {value!r}")
    return value


@click.group()
def owners() -> None:
    """List the owners of keys, and limit what they use.

    An owner's budget holds for all its keys together. The owner `local` has the jobs of a server without keys.
    """


@owners.command("list")
@with_settings
def list_owners(settings: Settings) -> None:
    """Show the owners of keys, with active keys, own budgets and what is left.

    Of a default budget only what is left is shown.
    """
    if _is_new(settings):
        return
    database = Database(settings.data / STORE)
    keys, limited = _active_keys(database), OwnerStore(database).all()
    names = sorted(keys.keys() | limited.keys()) if keys else sorted({LOCAL, *limited})
    left = _balances(settings, database)
    show([HEADINGS, *(_row(name, keys[name], limited.get(name, Budgets()), left) for name in names)])


@owners.command()
@click.argument("owner", callback=_owner)
@with_budgets("owner")
@with_settings
def limits(settings: Settings, owner: str, **budgets: Budget | int | None) -> None:
    """Show or change an owner's budgets, for all its keys together.

    `none` removes a budget: the default holds, if there is one.
    """
    changes = {name: value or None for name, value in budgets.items() if value is not None}
    if not changes and _is_new(settings):
        return
    database = Database(settings.data / STORE)
    store, keys = OwnerStore(database), _active_keys(database)
    known = store.all().get(owner, Budgets())
    if changes:
        known = replace(known, **changes)  # type: ignore[arg-type]
        store.limit(owner, known)
    show([HEADINGS, _row(owner, keys[owner], known, _balances(settings, database))])
    if owner not in keys and owner != LOCAL:
        click.echo(f"note: no key in {settings.data} is of owner {owner}", err=True)


def _is_new(settings: Settings) -> bool:
    """Return whether there is no store yet; show an empty table then."""
    if (settings.data / STORE).exists():
        return False
    show([HEADINGS])
    click.echo(f"note: {settings.data} has no store yet, so there is no owner", err=True)
    return True


def _active_keys(database: Database) -> Counter[str]:
    """Return the number of active keys by owner, also if 0."""
    found: Counter[str] = Counter()
    for key in ApiKeyStore(database).all():
        found[key.owner] += key.state(time.time()) == "active"
    return found


def _balances(settings: Settings, database: Database) -> BudgetStore:
    return BudgetStore(database, owners=settings.owner_budgets)


def _row(owner: str, keys: int, budgets: Budgets, balances: BudgetStore) -> tuple[str, ...]:
    gpu_seconds, cost = cells((budgets.gpu_seconds, budgets.cost))
    left = {each.account.unit: decimals(each.left, 4) for each in balances.balances(owner, None)}
    return owner, str(keys), gpu_seconds, left.get(Unit.GPU_SECONDS, "-"), cost, left.get(Unit.COST, "-")
