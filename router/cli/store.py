"""`framegate store`: copy the job store of a running server."""

from collections.abc import Iterator
from pathlib import Path

import click

from router.cli.options import with_settings
from router.jobs.backup import back_up
from router.runtime.byte_size import format_bytes
from router.settings import Settings

BESIDE = {
    "links.secret": "the secret of signed links",
    "inputs": "the images of jobs",
    "videos": "the finished videos",
}


@click.group()
def store() -> None:
    """Copy the job store of a server."""


@store.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@with_settings
def backup(settings: Settings, file: Path, force: bool) -> None:
    """Copy the job store to FILE, while the server runs or not.

    FILE is written whole or not at all. To restore it: stop the server, remove jobs.sqlite-wal and jobs.sqlite-shm
    from the data folder, copy FILE there as jobs.sqlite, beside it the copies of links.secret, inputs and videos, and
    start the server as the user who owns them.
    """
    made = back_up(settings.data / "jobs.sqlite", file, replace=force)
    click.echo(f"{file}: {made.jobs} jobs and {made.keys} keys, {format_bytes(made.size)}")
    for line in _advice(settings):
        click.echo(line)


def _advice(settings: Settings) -> Iterator[str]:
    """Yield the other parts of a backup."""
    # they are copied after the store: a job without its video is worse than a video without its job
    here = {name: about for name, about in BESIDE.items() if (settings.data / name).exists()}
    if here:
        yield f"copy these of {settings.data} now, after the store:"
        yield from (f"  {name}: {about}" for name, about in here.items())
    yield f"and the models file, {settings.models}" if settings.model is None else "and the model's folder"
