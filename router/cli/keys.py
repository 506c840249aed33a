"""`framegate keys`: create, list, limit and revoke API keys."""

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from router.accounting.budgets import Budget, Budgets, Subject
from router.auth.keys import ApiKey, KeyLimits, Scope, new_key, new_text
from router.cli.budget_options import HEADINGS as OF_BUDGETS
from router.cli.budget_options import OPTIONS as BUDGETS
from router.cli.budget_options import cells, with_budgets, without_empty
from router.cli.options import checked_name, store_of, with_settings
from router.cli.table import show
from router.jobs import ApiKeyStore, BudgetStore, Database, open_database, open_if_there
from router.runtime.variables import YEAR_SECONDS
from router.settings import Settings

HEADINGS = (
    "NAME", "OWNER", "SCOPES", "PREFIX", "STATE", "CREATED", "EXPIRES", "QUEUED", "RUNNING", "PER MINUTE",
    *OF_BUDGETS,
)  # fmt: skip
LONGEST_SECONDS = 100 * YEAR_SECONDS
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Limit = Budget | int | None
DEFAULT_SCOPES = (Scope.GENERATE, Scope.READ)
LIMITS = {
    "queued": ("--queued", "Limit of queued jobs"),
    "running": ("--running", "Limit of running jobs; others wait"),
    "per_minute": ("--rpm", "Limit of requests per minute"),
}


def _count(context: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Parse a whole number of at least 1; `none` is 0, for no limit."""
    if value is None or value == "none":
        return None if value is None else 0
    if not re.fullmatch("[1-9][0-9]{0,8}", value):
        raise click.BadParameter(f"must be a whole number of at least 1, or none, got {value!r}")
    return int(value)


def _seconds(context: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    found = re.fullmatch("([1-9][0-9]{0,9})([smhd])", value)
    if found is None or (seconds := int(found[1]) * UNITS[found[2]]) > LONGEST_SECONDS:
        raise click.BadParameter(f"must be a number and s, m, h or d, up to a hundred years, got {value!r}")
    return seconds


def _with_limits(command: Any) -> Any:
    for name, (option, about) in reversed(LIMITS.items()):
        default = f"FRAMEGATE_KEY_{name.upper()}"
        about = f"{about}. [default: {default}]"
        command = click.option(option, name, metavar="N|none", callback=_count, help=about)(command)
    return command


@click.group()
def keys() -> None:
    """Create, list, limit and revoke API keys.

    Once a key exists, every request to a server with this job store needs one, on loopback too.
    """


@keys.command()
@click.argument("name", callback=checked_name)
@click.option("--owner", callback=checked_name, help="Owner of the key's jobs; keys may share one. [default: NAME]")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="Permission of the key; repeatable. [default: generate and read]",
)
@click.option("--expires", metavar="TIME", callback=_seconds, help="Lifetime, such as 90d. [default: never]")
@_with_limits
@with_budgets("key")
@with_settings
def create(
    settings: Settings, name: str, owner: str | None, scopes: tuple[str, ...], expires: int | None, **limits: Limit
) -> None:
    """Create a key and print it once; only its digest is stored."""
    text = new_text()
    key = replace(
        new_key(text, name, owner or name, [Scope(word) for word in scopes] or DEFAULT_SCOPES),
        limits=_changed(KeyLimits(), limits),
        expires_at=time.time() + expires if expires else None,
    )
    store = ApiKeyStore(open_database(settings.job_store))
    if store.add(key) is None:
        raise click.BadParameter(f"there is a key {name}, or was one: choose another name", param_hint="NAME")
    click.echo(text)
    about = [" and ".join(sorted(key.scopes)), *_named(key.limits), f"in {store_of(settings)}"]
    click.echo(f"key {name} of {key.owner}: {', '.join(about)}. It is not shown again.", err=True)


@keys.command("list")
@with_settings
def list_keys(settings: Settings) -> None:
    """Show all keys, revoked and expired ones too, with what their budgets have left."""
    database = open_if_there(settings.job_store)
    _show(settings, database, ApiKeyStore(database).all() if database else ())
    if database is None:
        click.echo(f"note: {store_of(settings)} has no store yet, so there is no key", err=True)


@keys.command()
@click.argument("name", callback=checked_name)
@with_settings
def revoke(settings: Settings, name: str) -> None:
    """Revoke a key within a second; its jobs stay."""
    database, found = _find(settings, name)
    ApiKeyStore(database).revoke(name)
    click.echo(f"key {name} was revoked before" if found.revoked_at else f"key {name} is revoked")


@keys.command()
@click.argument("name", callback=checked_name)
@_with_limits
@with_budgets("key")
@with_settings
def limits(settings: Settings, name: str, **limits: Limit) -> None:
    """Show or change a key's limits.

    `none` removes a limit: the default holds, if there is one.
    """
    database, key = _find(settings, name)
    if any(value is not None for value in limits.values()):
        key = ApiKeyStore(database).limit(name, _changed(key.limits, limits)) or key
    _show(settings, database, [key])
    if key.revoked_at:
        click.echo(f"note: key {name} is revoked", err=True)


def _find(settings: Settings, name: str) -> tuple[Database, ApiKey]:
    """Return a key and its store; raise `click.BadParameter` if there is none."""
    database = open_if_there(settings.job_store)
    key = ApiKeyStore(database).find(name) if database else None
    if database is None or key is None:
        where = f"no key is called {name} in {store_of(settings)}"
        raise click.BadParameter(f"{where}; 'framegate keys list' shows them", param_hint="NAME")
    return database, key


def _changed(limits: KeyLimits, changes: dict[str, Limit]) -> KeyLimits:
    """Return the limits with the new values; 0 removes a limit."""
    changed = {name: value or None for name, value in changes.items() if value is not None}
    return replace(limits, **changed)  # type: ignore[arg-type]


def _named(limits: KeyLimits) -> list[str]:
    """Return the limits as the options that set them."""
    values = ((option, getattr(limits, name)) for name, (option, _) in {**LIMITS, **BUDGETS}.items())
    return [f"{option} {value}" for option, value in values if value is not None]


def _show(settings: Settings, database: Database | None, keys: Sequence[ApiKey]) -> None:
    rows: list[Sequence[str]] = [HEADINGS]
    if database and keys:
        budgets = BudgetStore(database, keys=settings.key_limits.budgets)
        rows += [_row(key, budgets) for key in keys]
    show(without_empty(rows))


def _row(key: ApiKey, budgets: BudgetStore) -> tuple[str, ...]:
    counts = (key.limits.queued, key.limits.running, key.limits.per_minute)
    return (
        key.name,
        key.owner,
        " ".join(sorted(key.scopes)),
        key.id,
        key.state(time.time()),
        _day(key.created_at),
        "never" if key.expires_at is None else _day(key.expires_at),
        *("-" if count is None else str(count) for count in counts),
        *cells(Budgets(key.limits.gpu_seconds, key.limits.cost), budgets.balances(key.owner, key.id), Subject.KEY),
    )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
