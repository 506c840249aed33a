"""`framegate store`: copy the job store of a running server, or move it."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from router.cli.options import with_settings
from router.errors import BootError
from router.jobs.backup import back_up
from router.jobs.database.retired_store import reopen as reopen_store
from router.jobs.store_move import move_store
from router.runtime import variables
from router.runtime.byte_size import format_bytes
from router.runtime.store_url import store_name
from router.settings import Settings

BESIDE = {
    "links.secret": "the secret of signed links",
    "inputs": "the images of jobs",
    "videos": "the finished videos",
}


def _store(context: click.Context, param: click.Parameter, value: str | None) -> Path | str | None:
    """Parse the URL of an SQLite file or of PostgreSQL."""
    if value is None:
        return None
    if file := re.fullmatch(r"sqlite:///(.+)", value):
        return variables.path(file[1])
    try:
        return variables.store(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}, or sqlite:///PATH") from None


@click.group()
def store() -> None:
    """Copy the job store of a server, or move it to another database."""


@store.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@with_settings
def backup(settings: Settings, file: Path, force: bool) -> None:
    """Copy the job store to FILE, while the server runs or not.

    FILE is an SQLite store, written whole or not at all. To restore it: stop the server, remove jobs.sqlite-wal and
    jobs.sqlite-shm from the data folder, copy FILE there as jobs.sqlite, beside it the copies of links.secret, inputs
    and videos, and start the server as the user who owns them. With a store in PostgreSQL: stop the servers, and move
    FILE to an empty database by 'framegate store migrate --keep --from sqlite:///FILE'.
    """
    made = back_up(settings.job_store, file, replace=force)
    click.echo(f"{file}: {made.jobs} jobs and {made.keys} keys, {format_bytes(made.size)}")
    for line in _advice(settings):
        click.echo(line)


@store.command()
@click.option("--from", "source", metavar="URL", callback=_store, help="The store. [default: that of the data folder]")
@click.option("--to", "target", metavar="URL", callback=_store, help="An empty store. [default: FRAMEGATE_STORE]")
@click.option("--keep", is_flag=True, help="Only copy: the store stays in use.")
@with_settings
def migrate(settings: Settings, source: Path | str | None, target: Path | str | None, keep: bool) -> None:
    """Move a job store to an empty one, while servers run or not.

    A URL is sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE. Everything is copied, or nothing:
    jobs, keys, budgets, usage, revisions, the secret of links; no files. Running jobs are queued again. From the
    beginning on the old store accepts nothing; its servers answer 503 until they are restarted with the new one.
    """
    source = source or settings.data / "jobs.sqlite"
    target = target or settings.store
    if not target:
        raise BootError("the new store must be given: --to or FRAMEGATE_STORE")
    if isinstance(target, Path) and target.name != "jobs.sqlite" and not keep:
        raise BootError(f"the store of a server must be called jobs.sqlite, got {target}")
    for table, number in move_store(source, target, keep=keep).items():
        click.echo(f"{table:10} {number:>9,}")
    click.echo(f"{store_name(source)} is {'copied' if keep else 'moved'} to {store_name(target)}")
    if not keep:
        click.echo(_next(target))


@store.command()
@click.argument("url", callback=_store, required=False)
@with_settings
def reopen(settings: Settings, url: Path | str | None) -> None:
    """Let servers use a store again after a move.

    Also after an interrupted one. URL is by default the store of the settings. What the new store has accepted
    meanwhile is not in it. Stop the servers of the new store first: of two stores in use each removes the files of
    the other.
    """
    store = url or settings.job_store
    reopen_store(store)
    click.echo(f"{store_name(store)} is in use again")


def _next(target: Path | str) -> str:
    if isinstance(target, Path):
        return f"next: stop all processes, unset FRAMEGATE_STORE, and start them with FRAMEGATE_DATA={target.parent}"
    return f"next: set FRAMEGATE_STORE to {store_name(target)}, with its password, for every process, and restart them"


def _advice(settings: Settings) -> Iterator[str]:
    """Yield the other parts of a backup."""
    # they are copied after the store: a job without its video is worse than a video without its job
    here = {name: about for name, about in BESIDE.items() if (settings.data / name).exists()}
    if settings.store:
        here.pop("links.secret", None)  # it is in the store
    if here:
        yield f"copy these of {settings.data} now, after the store:"
        yield from (f"  {name}: {about}" for name, about in here.items())
    yield f"and the models file, {settings.models}" if settings.model is None else "and the model's folder"
