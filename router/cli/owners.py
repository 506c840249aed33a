"""`framegate owners`: list the owners of keys, and limit what they use."""

import time
from collections import Counter
from dataclasses import replace

import click

from router.accounting.budgets import Budget, Budgets, Subject
from router.auth.keys import LOCAL
from router.cli.budget_options import HEADINGS as OF_BUDGETS
from router.cli.budget_options import cells, with_budgets, without_empty
from router.cli.options import checked_name, store_of, with_settings
from router.cli.table import show
from router.jobs import ApiKeyStore, BudgetStore, Database, Ledger, OwnerStore, open_database, open_if_there
from router.settings import Settings

HEADINGS = ("OWNER", "KEYS", *OF_BUDGETS)


@click.group()
def owners() -> None:
    """List the owners of keys, and limit what they use.

    An owner's budget holds for all its keys together. The owner `local` has the jobs of a server without keys.
    """


@owners.command("list")
@with_settings
def list_owners(settings: Settings) -> None:
    """Show the owners of keys, budgets and used work, with active keys and budgets.

    What is neither used nor left is reserved by unfinished jobs. Without a key, `local` owns all jobs.
    """
    if (database := _existing(settings)) is None:
        return
    keys, limited = _active_keys(database), OwnerStore(database).all()
    names = {*keys, *limited, *Ledger(database).names("owner"), *(() if keys else (LOCAL,))}
    budgets = _budgets(settings, database)
    rows = (_row(name, keys[name], limited.get(name, Budgets()), budgets) for name in sorted(names))
    show(without_empty([HEADINGS, *rows]))


@owners.command()
@click.argument("owner", callback=checked_name)
@with_budgets("owner")
@with_settings
def limits(settings: Settings, owner: str, **budgets: Budget | int | None) -> None:
    """Show or change an owner's budgets, for all its keys together.

    `none` removes a budget: the default holds, if there is one.
    """
    changes = {name: value or None for name, value in budgets.items() if value is not None}
    database = open_database(settings.job_store) if changes else _existing(settings)
    if database is None:
        return
    store, keys = OwnerStore(database), _active_keys(database)
    known = store.all().get(owner, Budgets())
    if changes:
        known = replace(known, **changes)  # type: ignore[arg-type]
        store.limit(owner, known)
    show(without_empty([HEADINGS, _row(owner, keys[owner], known, _budgets(settings, database))]))
    if owner not in keys and owner != LOCAL:
        click.echo(f"note: no key in {store_of(settings)} is of owner {owner}", err=True)


def _existing(settings: Settings) -> Database | None:
    """Return the store; without one show an empty table."""
    database = open_if_there(settings.job_store)
    if database is None:
        show([HEADINGS])
        click.echo(f"note: {store_of(settings)} has no store yet, so there is no owner", err=True)
    return database


def _active_keys(database: Database) -> Counter[str]:
    """Return the number of active keys by owner, also if 0."""
    found: Counter[str] = Counter()
    for key in ApiKeyStore(database).all():
        found[key.owner] += key.state(time.time()) == "active"
    return found


def _budgets(settings: Settings, database: Database) -> BudgetStore:
    return BudgetStore(database, owners=settings.owner_budgets)


def _row(owner: str, keys: int, own: Budgets, budgets: BudgetStore) -> tuple[str, ...]:
    return owner, str(keys), *cells(own, budgets.balances(owner, None), Subject.OWNER)
