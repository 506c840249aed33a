"""A plain table of text columns."""

from collections.abc import Sequence

import click

WIDEST = 48  # characters of a cell between the first column and the last


def show(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equal length in aligned columns; long cells stand whole below them."""
    short = [[name, *map(_cut, cells), last] for name, *cells, last in rows]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    for row in short:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for name, *cells in rows:
        for cell in (cell for cell in cells[:-1] if _cut(cell) != cell):
            click.echo(f"{name}: {cell}")


def _cut(cell: str) -> str:
    return cell if len(cell) <= WIDEST else f"{cell[: WIDEST - 1].rstrip()}…"
