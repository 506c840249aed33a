"""A plain table of text columns."""

import re
from collections.abc import Sequence

import click

WIDEST = 48  # characters of a cell between the first column and the last
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
NO_NUMBER = ("", "-")


def show(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equal length in aligned columns; long cells stand whole below them.

    The first row has the headings. Columns of numbers are aligned at their right.
    """
    short = [[name, *map(_cut, cells), last] for name, *cells, last in rows]
    columns = list(zip(*short, strict=True))
    forms = [
        f"{{:{'>' if at and _numbers(cells[1:]) else '<'}{max(map(len, cells))}}}" for at, cells in enumerate(columns)
    ]
    for row in short:
        click.echo("  ".join(form.format(cell) for form, cell in zip(forms, row, strict=True)).rstrip())
    for name, *cells in rows:
        for cell in (cell for cell in cells[:-1] if _cut(cell) != cell):
            click.echo(f"{name}: {cell}")


def _numbers(cells: Sequence[str]) -> bool:
    """Return whether a column, without its heading, has numbers and nothing else."""
    found = [cell for cell in cells if cell not in NO_NUMBER]
    return bool(found) and all(map(NUMBER.fullmatch, found))


def _cut(cell: str) -> str:
    return cell if len(cell) <= WIDEST else f"{cell[: WIDEST - 1].rstrip()}…"
